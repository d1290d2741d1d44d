#include "apps/nan_report.h"

#include <algorithm>

#include "apps/program_device.h"
#include "apps/version.h"
#include "kernels/launch/check.h"
#include "model/nan_capsule.h"

namespace frcnn::apps {
namespace {

std::string file_of(const Dataset& set, const std::string& id) {
  for (const ImageRecord& image : set.images)
    if (image.id == id) return image.path.string();
  return "?";
}

NanCapsule capsule_of(const Trainer& trainer, const Dataset& training, const std::string& why) {
  NanCapsule capsule;
  capsule.state = trainer.checkpoint(0, 0);
  capsule.state.program_version = program_version();
  capsule.device = describe(program_device().device);
  capsule.message = why;
  for (const KeptPass& kept : trainer.kept_passes()) {
    CapsulePass pass{kept.step, kept.input, kept.truth, kept.input.names, {}};
    pass.ids.resize(kept.input.sizes.size(), "?");
    for (const std::string& id : pass.ids) pass.files.push_back(file_of(training, id));
    capsule.passes.push_back(std::move(pass));
  }
  return capsule;
}

}  // namespace

void stop_with_capsule(const Trainer& trainer, const Dataset& training, const RunFolder& folder,
                       const std::string& why) {
  const NanCapsule capsule = capsule_of(trainer, training, why);
  const auto file = folder.root() / fmt::format("nan-step-{}.capsule.h5", capsule.step());
  std::string text = why;
  try {
    save_capsule(file, capsule);
    const auto found = replay(load_capsule(file));
    text += found ? ". The first tensor that is not finite: " + describe(capsule, *found)
                  : ". A repetition on the CPU found nothing that is not finite";
    text +=
        fmt::format(". State and pictures of the step are kept: frcnn replay {}", file.string());
  } catch (const Error& error) {
    text += fmt::format(". The capsule {} could not be made or repeated: {}", file.string(),
                        error.what());
  }
  fail("{}", text);
}

}  // namespace frcnn::apps
