#include "tests/engine/gradient_check.h"

#include <cmath>

#include "engine/tape.h"
#include "tests/support/support.h"

namespace frcnn::test {

std::string gradient_error(const std::function<Tensor(const std::vector<Tensor>&)>& f,
                           std::vector<Tensor> inputs, double step, double tolerance) {
  for (Tensor& x : inputs) {
    x.set_requires_grad(true);
    x.set_grad(Tensor());
  }
  Tape tape;
  Tensor y;
  {
    Tape::Scope recording(tape);
    y = f(inputs);
  }
  // The cotangent in logical order, so that layouts of y don't matter.
  const auto weights = random_vector<double>(static_cast<size_t>(y.numel()), -1, 1, 99);
  const Tensor cotangent = Tensor::from(y.shape(), weights).to_block(y.channel_block());
  tape.backward({{y, cotangent.clone()}});
  const auto value = [&] {
    const Tape::NoGrad no_grad;
    const std::vector<double> out = f(inputs).to_vector<double>();
    double sum = 0;
    for (size_t i = 0; i < out.size(); ++i) sum += out[i] * weights[i];
    return sum;
  };
  for (size_t k = 0; k < inputs.size(); ++k) {
    if (!inputs[k].grad()) return fmt::format("input {} got no gradient", k);
    const Tensor grad = inputs[k].grad();
    const auto x = inputs[k].span<double>();
    for (size_t i = 0; i < x.size(); ++i) {
      const double kept = x[i];
      x[i] = kept + step;
      inputs[k].bump_version();
      const double up = value();
      x[i] = kept - step;
      inputs[k].bump_version();
      const double down = value();
      x[i] = kept;
      const double expected = (up - down) / (2 * step), got = grad.span<double>()[i];
      if (!(std::abs(got - expected) <= tolerance * (1 + std::abs(expected))))
        return fmt::format("input {} [{}]: gradient {}, central difference {}", k, i, got,
                           expected);
    }
  }
  return "";
}

}  // namespace frcnn::test
