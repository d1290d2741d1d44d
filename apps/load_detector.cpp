#include "apps/load_detector.h"

#include <cstdio>

#include "apps/program_device.h"

namespace frcnn::apps {

Detector load_detector(const std::filesystem::path& file,
                       const std::vector<std::string>& settings) {
  Detector detector = Detector::load(file, settings, program_device().device);
  if (requested_cpu_math() == "bf16") detector.use_bf16();
  if (detector.precision() != "f32")
    std::fprintf(stderr, "precision %s\n", detector.precision().c_str());
  return detector;
}

}  // namespace frcnn::apps
