#include "engine/reduced_layer.h"

#include <cmath>

#include "engine/layers.h"
#include "engine/ops/linear.h"
#include "engine/ops/pooling.h"
#include "kernels/quant/quantize.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

constexpr Initializer kUniform{Initializer::Method::uniform, 0.2};

Tensor random_tensor(const Shape& shape, double low, double high, uint64_t seed) {
  return Tensor::from(shape,
                      random_vector<float>(static_cast<size_t>(shape.numel()), low, high, seed));
}

Int8Weights int8_of(const Tensor& weight, float input_scale, bool is_signed = false) {
  Int8Weights q{Tensor::empty(weight.shape(), DType::i8), Tensor::empty({weight.dim(0)}),
                input_scale, is_signed};
  kernels::cpu::quantize_weights(weight.dim(0), weight.numel() / weight.dim(0),
                                 weight.data<float>(), q.values.data<int8_t>(),
                                 q.scales.data<float>());
  return q;
}

/// What integer arithmetic stands for: values rounded to multiples of the scale within 8 bits.
Tensor rounded(const Tensor& x, float scale, float low, float high) {
  Tensor y = x.clone();
  for (float& v : y.span<float>()) v = scale * std::clamp(std::nearbyint(v / scale), low, high);
  return y;
}
Tensor rounded_weight(const ReducedLayer& layer) {
  const Int8Weights& w = *layer.int8();
  Tensor plain = Tensor::empty(w.values.shape());
  kernels::cpu::dequantize_weights(plain.dim(0), plain.numel() / plain.dim(0),
                                   w.values.data<int8_t>(), w.scales.data<float>(),
                                   plain.data<float>());
  return plain;
}
Tensor values_of(const Parameters& parameters, const std::string& name) {
  return parameters.find(name)->tensor;
}

/// A parameter's values from low to high.
void set_uniform(const Parameters& parameters, const std::string& name, double low, double high,
                 uint64_t seed) {
  Tensor tensor = values_of(parameters, name);
  tensor.copy_from(random_tensor(tensor.shape(), low, high, seed));
  tensor.bump_version();
}

}  // namespace

TEST_CASE("an 8-bit convolution is the float32 one on rounded inputs and weights") {
  for (const bool is_signed : {false, true}) {
    if (is_signed && !kernels::cpu::has_int8()) continue;  // oneDNN halves the weights
    Parameters parameters(1);
    const Conv2d conv(parameters, "c", 20, 24, 3, Conv2dOptions::square(1, 1, true), kUniform);
    set_uniform(parameters, "c.bias", -1, 1, 3);
    const Tensor x = random_tensor({2, 20, 9, 11}, is_signed ? -2 : 0, 2.4, 5);
    const float scale = is_signed ? 2.0f / 127 : 2.0f / 255;  // some values are clamped
    parameters.reduced_layer("c.weight")
        ->use_int8(int8_of(values_of(parameters, "c.weight"), scale, is_signed));
    const Tensor y = conv.forward(x);
    CHECK(y.dtype() == DType::f32);
    const Tensor expected = conv2d(rounded(x, scale, is_signed ? -127 : 0, is_signed ? 127 : 255),
                                   rounded_weight(conv.reduced()), values_of(parameters, "c.bias"),
                                   Conv2dOptions::square(1, 1, true));
    FRCNN_CHECK_SAME(y.to_vector<float>(), expected.to_vector<float>(), 1e-5, 1e-5);
  }
}

TEST_CASE("8-bit maps pass from layer to layer through batch norm, ReLU and max pooling") {
  Parameters parameters(1);
  const Conv2d first(parameters, "a", 16, 24, 3, Conv2dOptions::square(1, 1), kUniform,
                     /*bias=*/false);
  const BatchNorm norm(parameters, "n", 24, /*relu=*/true);
  const Conv2d second(parameters, "b", 24, 8, 3, Conv2dOptions::square(2, 1), kUniform);
  set_uniform(parameters, "n.weight", -1, 1, 2);  // negative factors turn the order of values
  set_uniform(parameters, "n.bias", -1, 1, 3);
  set_uniform(parameters, "n.running_mean", -1, 1, 4);
  set_uniform(parameters, "n.running_var", 0.2, 2, 5);
  set_uniform(parameters, "b.bias", -1, 1, 6);
  values_of(parameters, "n.weight").data<float>()[5] = 0;  // a channel that batch norm puts out
  const Tensor x = random_tensor({1, 16, 10, 12}, 0, 2, 7);
  const float in = 2.0f / 255, middle = 4.0f / 255;
  const auto pool = kernels::MaxPoolParams::square(2, 2);
  parameters.reduced_layer("a.weight")->use_int8(int8_of(values_of(parameters, "a.weight"), in));
  parameters.reduced_layer("b.weight")
      ->use_int8(int8_of(values_of(parameters, "b.weight"), middle));

  const Tensor between = first.forward_reduced(x, &norm.layer(), &second.reduced());
  REQUIRE(between.dtype() == DType::u8);
  const Tensor y = second.forward_reduced(max_pool2d(between, pool), nullptr, nullptr);

  const Tensor sums = conv2d(rounded(x, in, 0, 255), rounded_weight(first.reduced()), {},
                             Conv2dOptions::square(1, 1));
  const Tensor expected_between = norm.forward(sums, /*training=*/false);
  Tensor got = Tensor::empty(between.shape(), DType::f32, {}, between.channel_block());
  for (size_t i = 0; i < got.span<float>().size(); ++i)
    got.span<float>()[i] = middle * between.span<uint8_t>()[i];
  const Tensor steps = rounded(expected_between, middle, 0, 255);
  FRCNN_CHECK_SAME(got.to_vector<float>(), steps.to_vector<float>(), 1e-6,
                   1.01 * middle);  // ties may differ
  const Tensor expected = conv2d(max_pool2d(got, pool), rounded_weight(second.reduced()),
                                 values_of(parameters, "b.bias"), Conv2dOptions::square(2, 1));
  FRCNN_CHECK_SAME(y.to_vector<float>(), expected.to_vector<float>(), 1e-5, 1e-5);
}

TEST_CASE("8-bit dense layers hand 8-bit rows on") {
  Parameters parameters(1);
  const Linear first(parameters, "a", 50, 32, /*relu=*/true, kUniform);
  const Linear second(parameters, "b", 32, 7, /*relu=*/false, kUniform);
  const Tensor x = random_tensor({13, 50}, 0, 3, 7);
  const float in = 3.0f / 255, middle = 3.0f / 255;
  const Tensor before = second.forward(first.forward(x));
  parameters.reduced_layer("a.weight")->use_int8(int8_of(values_of(parameters, "a.weight"), in));
  parameters.reduced_layer("b.weight")
      ->use_int8(int8_of(values_of(parameters, "b.weight"), middle));
  const Tensor rows = first.forward_reduced(x, &second.reduced());
  CHECK(rows.dtype() == DType::u8);
  const Tensor y = second.forward_reduced(rows, nullptr);
  CHECK(relative_l2(y.to_vector<float>(), before.to_vector<float>()) < 0.05);
  std::vector<float> got;
  for (const uint8_t q : rows.to_vector<uint8_t>()) got.push_back(middle * q);
  const Tensor expected = linear(Tensor::from(rows.shape(), got), rounded_weight(second.reduced()),
                                 values_of(parameters, "b.bias"), false);
  FRCNN_CHECK_SAME(y.to_vector<float>(), expected.to_vector<float>(), 1e-5, 1e-5);
  CHECK(second.forward_reduced(Tensor::empty({0, 32}), nullptr).shape() == Shape{0, 7});
}

TEST_CASE("bf16 layers are near float32 ones") {
  Parameters parameters(1);
  const Conv2d conv(parameters, "a", 16, 24, 3, Conv2dOptions::square(1, 1, true), kUniform);
  const Conv2d last(parameters, "b", 24, 8, 3, Conv2dOptions::square(1, 1), kUniform);
  const Tensor x = random_tensor({1, 16, 10, 12}, -1, 2, 7);
  if (!kernels::cpu::has_bf16()) {
    CHECK_THROWS_WITH(parameters.reduced_layer("a.weight")->use_bf16(),
                      Catch::Contains("no bfloat16 arithmetic"));
    return;
  }
  const auto pool = kernels::MaxPoolParams::square(3, 2, 1);
  const Tensor before = last.forward(max_pool2d(conv.forward(x), pool));
  parameters.reduced_layer("a.weight")->use_bf16();
  parameters.reduced_layer("b.weight")->use_bf16();
  const Tensor between = conv.forward_reduced(x, nullptr, &last.reduced());
  CHECK(between.dtype() == DType::bf16);
  const Tensor y = last.forward_reduced(max_pool2d(between, pool), nullptr, nullptr);
  CHECK(relative_l2(y.to_vector<float>(), before.to_vector<float>()) < 0.01);
}

TEST_CASE("reduced layers refuse weights and inputs that do not fit") {
  Parameters parameters(1);
  const Linear layer(parameters, "a", 5, 3, false, kUniform);
  const auto reduced = parameters.reduced_layer("a.weight");
  Int8Weights weights = int8_of(values_of(parameters, "a.weight"), 1);
  weights.input_scale = 0;
  CHECK_THROWS_WITH(reduced->use_int8(weights), Catch::Contains("expected an input scale above 0"));
  weights.input_scale = 1;
  weights.scales = Tensor::zeros({4});
  CHECK_THROWS_WITH(reduced->use_int8(weights), Catch::Contains("one f32 scale per output"));
  CHECK(!reduced->active());
  reduced->use_int8(int8_of(values_of(parameters, "a.weight"), 1));
  CHECK_THROWS_WITH(layer.forward(Tensor::zeros({2, 4})), Catch::Contains("expected x (R, in)"));
  CHECK_THROWS_WITH(layer.forward(Tensor::zeros({2, 5}, DType::f64)),
                    Catch::Contains("expected f32 or u8 input"));
}
