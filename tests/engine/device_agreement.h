#pragma once

#include <functional>
#include <vector>

#include "engine/tape.h"
#include "engine/tensor.h"
#include "tests/support/devices.h"
#include "tests/support/support.h"

namespace frcnn::test {

/// Random float32 numbers on the CPU.
inline Tensor random_tensor(const Shape& shape, uint64_t seed, double low = -1, double high = 1) {
  return Tensor::from(shape,
                      random_vector<float>(static_cast<size_t>(shape.numel()), low, high, seed));
}

using TensorOperation = std::function<Tensor(const std::vector<Tensor>&)>;

/// Output and gradients of all inputs for a random cotangent.
inline std::vector<std::vector<float>> run_with_gradients(const TensorOperation& operation,
                                                          const std::vector<Tensor>& inputs,
                                                          Device device) {
  std::vector<Tensor> leaves;
  for (const Tensor& input : inputs) {
    leaves.push_back(input.clone().to(device));
    leaves.back().set_requires_grad(true);
  }
  Tape tape;
  Tensor y;
  {
    const Tape::Scope recording(tape);
    y = operation(leaves);
  }
  Tensor dy = random_tensor(y.shape(), 99).to(device).to_block(y.channel_block());
  tape.backward({{y, dy}});
  std::vector<std::vector<float>> results = {y.to_vector<float>()};
  for (const Tensor& leaf : leaves)
    results.push_back(leaf.grad() ? leaf.grad().to_vector<float>() : std::vector<float>());
  return results;
}

/// Outputs and gradients on every GPU of this build equal the CPU's.
inline void check_devices_agree(const TensorOperation& operation, const std::vector<Tensor>& inputs,
                                double relative = 1e-5, double absolute = 1e-5) {
  const auto expected = run_with_gradients(operation, inputs, Device{});
  for (const Device device : gpus()) {
    INFO(device.name());
    const auto actual = run_with_gradients(operation, inputs, device);
    for (size_t i = 0; i < expected.size(); ++i) {
      INFO((i == 0 ? "output" : "gradient of input ") << i);
      FRCNN_CHECK_SAME(actual[i], expected[i], relative, absolute);
    }
  }
}

}  // namespace frcnn::test
