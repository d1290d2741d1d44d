#pragma once

#include <string>
#include <vector>

#include "engine/tensor.h"

// Keras has spelt the same array in many ways; here they become one.
namespace frcnn {

/// "<layer>/<array>" from the group of a layer and the name that Keras 1 or 2 gave an array of it:
///
///   block1_conv1, block1_conv1_W_1:0        block1_conv1/kernel   (Keras 1)
///   block1_conv1, block1_conv1/kernel:0     block1_conv1/kernel   (Keras 2)
///   block1_conv1, block1_conv1_1/bias:0     block1_conv1/bias     (a layer made twice)
///   bn, bn_running_std_1:0                  bn/moving_variance    (Keras 1 kept the variance
///   there) lstm, lstm/cell/kernel:0                lstm/cell/kernel
std::string keras_entry_name(const std::string& layer, const std::string& array);

/// Names of the arrays that Keras 3 numbers 0, 1, ... in a layer, told by their shapes: {kernel},
/// {kernel, bias}, {gamma, beta, moving_mean, moving_variance}; otherwise the numbers themselves.
std::vector<std::string> keras3_array_names(const std::vector<Shape>& shapes);

}  // namespace frcnn
