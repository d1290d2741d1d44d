#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/tensor.h"

namespace frcnn::test {

/// Compares the gradients of the tape with central differences in float64.
///
/// `f` maps the inputs (all require a gradient) to one tensor; the scalar that is differentiated is
/// its product with a random cotangent, which, unlike a plain sum, sees permuted gradients. Returns
/// an empty string, or a sentence with the worst place. Inputs should stay away from kinks.
std::string gradient_error(const std::function<Tensor(const std::vector<Tensor>&)>& f,
                           std::vector<Tensor> inputs, double step = 1e-6, double tolerance = 1e-5);

}  // namespace frcnn::test
