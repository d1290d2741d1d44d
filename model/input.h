#pragma once

#include <cstdint>
#include <span>

#include "model/config.h"
#include "model/types.h"

namespace frcnn {

/// Pictures as one batch: each resized by the rule of the paper's section 3.3, normalised, padded
/// to preprocess.pad_multiple and, with zeros, to the largest of the batch. Throws Error for a
/// picture without pixels.
ModelInput make_input(std::span<const PictureView> pictures, const PreprocessConfig& preprocess);

/// One picture (height, width, 3) of 8-bit R, G, B values as a batch.
ModelInput make_input(const uint8_t* rgb, int width, int height,
                      const PreprocessConfig& preprocess);

}  // namespace frcnn
