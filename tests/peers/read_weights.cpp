// read_weights FILE: reads every array of a file of weights and keeps it, as loading a model does.
// Prints JSON: format, seconds, peak memory, and of each array name, shape and the MD5 of its
// float32 numbers. For tests/peers/weight_files.py.
#include <chrono>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/launch/check.h"
#include "weights/md5.h"
#include "weights/weight_file.h"

namespace {

/// Peak of the memory in use. getrusage() would count that of the process that started this one.
int64_t peak_bytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  int64_t kilobytes = 0;
  while (status >> word && word != "VmHWM:") {
  }
  status >> kilobytes;
  return kilobytes * 1024;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::fputs("usage: read_weights FILE\n", stderr);
    return 2;
  }
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  const auto file = frcnn::WeightFile::open(argv[1]);
  std::vector<frcnn::Tensor> tensors;
  for (const frcnn::WeightEntry& entry : file->entries()) tensors.push_back(file->read(entry));
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  const int64_t peak = peak_bytes();

  nlohmann::ordered_json out = {
      {"format", file->format()}, {"seconds", seconds}, {"peak_bytes", peak}};
  for (size_t i = 0; i < tensors.size(); ++i) {
    frcnn::Md5 md5;
    if (tensors[i].numel() > 0) md5.add(tensors[i].raw(), tensors[i].stored_bytes());
    const auto dims = tensors[i].shape().dims();
    out["arrays"].push_back({{"name", file->entries()[i].name},
                             {"shape", std::vector<int64_t>(dims.begin(), dims.end())},
                             {"md5", md5.finish()}});
  }
  std::printf("%s\n", out.dump().c_str());
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "read_weights: %s\n", error.what());
  return 1;
}
