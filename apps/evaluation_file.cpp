#include "apps/evaluation_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/evaluation.h"
#include "apps/evaluation_text.h"
#include "data/files.h"
#include "data/image.h"
#include "data/picture_scores.h"
#include "kernels/image/resize.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {

using Json = nlohmann::ordered_json;

namespace {

constexpr double kLeastScore = 0.5;
constexpr int kLongestSide = 800;

/// A copy to look at.
void write_picture(const ImageRecord& record, const std::filesystem::path& file) {
  Image image = decode_image(record.path);
  const int longer = std::max(image.width, image.height);
  if (longer > kLongestSide) {
    const double scale = static_cast<double>(kLongestSide) / longer;
    Image small(std::max(1, static_cast<int>(image.width * scale)),
                std::max(1, static_cast<int>(image.height * scale)));
    kernels::cpu::resize_u8(image.height, image.width, small.height, small.width, image.rgb.data(),
                            small.rgb.data());
    image = std::move(small);
  }
  write_image(image, file, 82);
}

Json box_json(const Box& box) {
  return {box.x1, box.y1, box.x2, box.y2};
}

bool contains(const std::vector<int64_t>& values, size_t value) {
  return std::find(values.begin(), values.end(), static_cast<int64_t>(value)) != values.end();
}

Json picture_json(const char* kind, const PictureScore& score, const Dataset& truth,
                  const std::vector<Detection>& detections) {
  const ImageRecord& record = truth.images[static_cast<size_t>(score.image)];
  Json objects = Json::array(), found = Json::array();
  for (size_t g = 0; g < record.objects.size(); ++g) {
    const Object& object = record.objects[g];
    const bool ignored = object.difficult || object.crowd;
    const char* state = ignored ? "ignored" : contains(score.found_objects, g) ? "found" : "missed";
    objects.push_back({{"class", truth.class_names[static_cast<size_t>(object.label)]},
                       {"box", box_json(object.box)},
                       {"state", state}});
  }
  for (size_t i = 0; i < detections.size(); ++i) {
    const Detection& d = detections[i];
    if (d.image != score.image || double{d.score} < kLeastScore) continue;
    found.push_back({{"class", truth.class_names[static_cast<size_t>(d.label)]},
                     {"score", d.score},
                     {"box", box_json(d.box)},
                     {"right", contains(score.right_detections, i)}});
  }
  return {{"kind", kind},
          {"id", record.id},
          {"file", ""},
          {"width", record.width},
          {"height", record.height},
          {"f1", score.f1},
          {"right", score.right},
          {"wrong", score.wrong},
          {"missed", score.missed},
          {"objects", std::move(objects)},
          {"detections", std::move(found)}};
}

}  // namespace

void remove_run_evaluation(const RunFolder& folder) {
  std::error_code error;
  std::filesystem::remove(folder.evaluation(), error);
  std::filesystem::remove_all(folder.pictures(), error);
}

void write_run_evaluation(const RunFolder& folder, int64_t step, const std::string& split,
                          const Dataset& truth, const std::vector<Detection>& detections,
                          const EvaluationResult& voc, size_t most) {
  remove_run_evaluation(folder);
  std::error_code error;
  std::filesystem::create_directories(folder.pictures(), error);
  check(!error, "{}: cannot make the folder: {}", folder.pictures().string(), error.message());
  EvaluationRequest request;
  request.json = true;
  Json json = {{"step", step}, {"split", split}, {"images", truth.images.size()}};
  json.update(
      Json::parse(evaluation_json(evaluate(truth, detections, request, request.computed(), voc))));

  const std::vector<PictureScore> scores = picture_scores(truth, detections, kLeastScore);
  const size_t worst = std::min(most, (scores.size() + 1) / 2);
  const size_t best = std::min(most, scores.size() / 2);
  json["pictures"] = Json::array();
  const auto add = [&](const char* kind, size_t number, const PictureScore& score) {
    Json picture = picture_json(kind, score, truth, detections);
    const ImageRecord& record = truth.images[static_cast<size_t>(score.image)];
    const std::string file = fmt::format("{}-{}-{}.jpg", kind, number + 1,
                                         std::filesystem::path(record.id).filename().string());
    write_picture(record, folder.pictures() / file);
    picture["file"] = file;
    json["pictures"].push_back(std::move(picture));
  };
  for (size_t i = 0; i < worst; ++i) add("worst", i, scores[scores.size() - 1 - i]);
  for (size_t i = 0; i < best; ++i) add("best", i, scores[i]);
  write_file(folder.evaluation(), std::string_view(json.dump(1) + "\n"));
}

}  // namespace frcnn::apps
