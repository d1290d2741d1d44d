// Reads a COCO annotation file and prints what it took; for tests/peers/coco_reading.py.
//   read_coco FILE.json
#include <chrono>
#include <cstdio>
#include <exception>
#include <fstream>
#include <string>

#include "data/coco.h"

namespace {

/// Peak of the memory in use, KiB. getrusage() would count that of the process that started this
/// one.
long peak_kib() {
  std::ifstream status("/proc/self/status");
  std::string word;
  long kib = 0;
  while (status >> word && word != "VmHWM:") {
  }
  status >> kib;
  return kib;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: read_coco FILE.json\n");
    return 2;
  }
  try {
    frcnn::ReadOptions options;
    options.pictures = false;
    const auto start = std::chrono::steady_clock::now();
    const frcnn::Dataset set = frcnn::read_coco(argv[1], options);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    const frcnn::DatasetSummary summary = frcnn::summarise(set);
    std::printf("%.3f %ld %ld %ld %ld\n", seconds.count(), peak_kib(),
                static_cast<long>(summary.images), static_cast<long>(summary.boxes),
                static_cast<long>(summary.crowds));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
