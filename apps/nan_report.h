#pragma once

#include <string>

#include "apps/run_folder.h"
#include "data/dataset.h"
#include "model/trainer.h"

namespace frcnn::apps {

/// The end of a training that met a number that is not finite: writes the capsule nan-step-N of the
/// trainer's state and kept passes to the folder, repeats them on the CPU, and throws an Error that
/// names the operation, the layer, the pictures and the step. `why` is what the training noticed.
[[noreturn]] void stop_with_capsule(const Trainer& trainer, const Dataset& training,
                                    const RunFolder& folder, const std::string& why);

}  // namespace frcnn::apps
