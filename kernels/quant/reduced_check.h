#pragma once

#include "kernels/quant/reduced_layer.h"

namespace frcnn::kernels::cpu {

/// 65,536 * 255 * 127 stays below 2^31.
inline constexpr int64_t kMostInt8Inputs = 65536;

/// Throws Error, which names `op`, unless numbers and channels fit each other and a layer of
/// `outputs` channels that each sum `inputs` products.
void check_reduced(const char* op, const LayerNumbers& numbers, const ChannelNumbers& channels,
                   int64_t inputs, int64_t outputs);

}  // namespace frcnn::kernels::cpu
