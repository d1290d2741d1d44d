// coco_eval FILE [THREADS]: evaluates one case and prints JSON: the twelve numbers, the seconds
// that evaluate_coco() took and the error shares of detection_errors(). FILE holds float64 numbers:
// the numbers of pictures, classes, objects and detections, the id of every picture, then of every
// object image, label, x1, y1, x2, y2, crowd, area, of every detection image, label, score, x1, y1,
// x2, y2. For tests/peers/coco_eval.py.
#include <chrono>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/coco_evaluate.h"
#include "data/detection_errors.h"
#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"

namespace {

using namespace frcnn;

std::vector<double> read(const char* file) {
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  check(in.good(), "{}: cannot be read", file);
  std::vector<double> values(static_cast<size_t>(in.tellg()) / sizeof(double));
  in.seekg(0);
  in.read(reinterpret_cast<char*>(values.data()),
          static_cast<std::streamsize>(values.size() * sizeof(double)));
  return values;
}

Box box_of(const double* values) {
  return {static_cast<float>(values[0]), static_cast<float>(values[1]),
          static_cast<float>(values[2]), static_cast<float>(values[3])};
}

}  // namespace

int main(int argc, char** argv) try {
  check(argc == 2 || argc == 3, "usage: coco_eval FILE [THREADS]");
  if (argc == 3) kernels::set_num_threads(std::stoi(argv[2]));
  const std::vector<double> values = read(argv[1]);
  check(values.size() >= 4, "{}: is too short", argv[1]);
  const double* at = values.data() + 4;
  Dataset truth;
  truth.images.resize(static_cast<size_t>(values[0]));
  for (int k = 0; k < static_cast<int>(values[1]); ++k)
    truth.class_names.push_back(std::to_string(k));
  for (ImageRecord& image : truth.images) image.number = static_cast<int64_t>(*at++);
  for (auto i = static_cast<size_t>(values[2]); i-- > 0; at += 8) {
    Object object;
    object.label = static_cast<int>(at[1]), object.box = box_of(at + 2);
    object.crowd = at[6] != 0, object.area = at[7];
    truth.images.at(static_cast<size_t>(at[0])).objects.push_back(object);
  }
  std::vector<Detection> found;
  for (auto i = static_cast<size_t>(values[3]); i-- > 0; at += 7)
    found.push_back({static_cast<int64_t>(at[0]), static_cast<int>(at[1]),
                     static_cast<float>(at[2]), box_of(at + 3)});

  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  const CocoResult result = evaluate_coco(truth, found);
  nlohmann::ordered_json out = {
      {"seconds", std::chrono::duration<double>(Clock::now() - start).count()}};
  for (const CocoNumberName& entry : coco_number_names())
    out["numbers"].push_back(result.numbers.*entry.value);
  const ErrorResult errors = detection_errors(truth, found);
  out["errors"].push_back(errors.map);
  for (const ErrorShare& kind : errors.kinds) out["errors"].push_back(kind.count);
  for (const ErrorShare& kind : errors.kinds) out["errors"].push_back(kind.gain);
  out["errors"].push_back(errors.false_positive_gain);
  out["errors"].push_back(errors.false_negative_gain);
  std::printf("%s\n", out.dump().c_str());
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "coco_eval: %s\n", error.what());
  return 1;
}
