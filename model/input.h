#pragma once

#include <cstdint>

#include "model/config.h"
#include "model/types.h"

namespace frcnn {

/// A picture (height, width, 3) of 8-bit R, G, B values as a batch of one: resized by the rule of
/// the paper's section 3.3, normalised, and padded to preprocess.pad_multiple.
ModelInput make_input(const uint8_t* rgb, int width, int height,
                      const PreprocessConfig& preprocess);

}  // namespace frcnn
