#pragma once

#include <cstdint>

#include "kernels/launch/layout.h"

namespace frcnn::kernels::cpu {

/// Copies a feature map into another channel block: y[n, c, h, w] = x[n, c, h, w]. The padding of y
/// is set to zero; that of x is not read. x and y may not overlap. Deterministic.
template <typename T>
void reorder_map(const MapLayout& x_layout,
                 int64_t y_block,  // y_layout = x_layout with this block
                 const T* x,       // x_layout
                 T* y);            // y_layout

}  // namespace frcnn::kernels::cpu
