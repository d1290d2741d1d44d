#include "engine/folded_norm.h"

#include "engine/memory.h"
#include "engine/ops/elementwise.h"
#include "engine/tape.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

Tensor random_tensor(const Shape& shape, double low, double high, uint64_t seed) {
  return Tensor::from(shape,
                      random_vector<float>(static_cast<size_t>(shape.numel()), low, high, seed));
}

NormLayer random_norm(int64_t channels, uint64_t seed, bool relu = true) {
  return {{random_tensor({channels}, -2, 2, seed), random_tensor({channels}, -1, 1, seed + 1),
           random_tensor({channels}, -1, 1, seed + 2), random_tensor({channels}, 0.1, 3, seed + 3)},
          {1e-5, 0.1, relu}};
}

std::vector<float> plain(const Tensor& map) {
  return convert_block(map, 1).to_vector<float>();
}

}  // namespace

TEST_CASE("a folded batch norm is the convolution with the norm behind it") {
  for (const bool with_bias : {false, true})
    for (const bool relu : {false, true})
      for (const int groups : {1, 2}) {
        INFO("bias " << with_bias << ", relu " << relu << ", groups " << groups);
        const Tensor x = random_tensor({2, 6, 11, 9}, -1, 1, 1);
        const Tensor weight = random_tensor({20, 6 / groups, 3, 3}, -0.3, 0.3, 2);
        const Tensor bias = with_bias ? random_tensor({20}, -1, 1, 3) : Tensor();
        const NormLayer norm = random_norm(20, 4, relu);
        Conv2dOptions options = Conv2dOptions::square(2, 1);
        options.groups = groups;
        REQUIRE(FoldedNorm::serves(x, weight, bias, norm));
        FoldedNorm folded;
        const Tensor expected = batch_norm(conv2d(x, weight, bias, options), norm.tensors,
                                           norm.params, /*training=*/false);
        for (int pass = 0; pass < 2; ++pass) {
          const Tensor found = folded.forward(x, weight, bias, options, norm);
          CHECK(found.shape() == expected.shape());
          CHECK(difference(plain(found), plain(expected), 1e-5, 1e-5) == "");
        }
      }
}

TEST_CASE("a folded batch norm follows changed weights, scales, statistics and biases") {
  const Tensor x = random_tensor({1, 8, 6, 6}, -1, 1, 1);
  Tensor weight = random_tensor({16, 8, 3, 3}, -0.3, 0.3, 2), bias = random_tensor({16}, -1, 1, 3);
  NormLayer norm = random_norm(16, 4);
  const Conv2dOptions options = Conv2dOptions::square(1, 1);
  FoldedNorm folded;
  folded.forward(x, weight, bias, options, norm);
  for (Tensor* tensor : {&weight, &bias, &norm.tensors.gamma, &norm.tensors.beta,
                         &norm.tensors.running_mean, &norm.tensors.running_var}) {
    tensor->copy_from(random_tensor(tensor->shape(), 0.2, 1, 9));
    tensor->bump_version();
    const Tensor expected =
        batch_norm(conv2d(x, weight, bias, options), norm.tensors, norm.params, false);
    const Tensor found = folded.forward(x, weight, bias, options, norm);
    CHECK(difference(plain(found), plain(expected), 1e-5, 1e-5) == "");
  }
}

TEST_CASE("a folded batch norm gives its memory back") {
  const Tensor x = random_tensor({1, 64, 8, 8}, -1, 1, 1);
  const Tensor weight = random_tensor({256, 64, 3, 3}, -0.3, 0.3, 2);
  const NormLayer norm = random_norm(256, 4);
  const auto in_use = [] { return CachingAllocator::of(Device{}).stats().in_use; };
  const size_t before = in_use();
  FoldedNorm folded;
  folded.forward(x, weight, {}, Conv2dOptions::square(1, 1), norm);
  CHECK(in_use() >= before + 256 * 64 * 9 * sizeof(float));
  folded.clear();
  CHECK(in_use() == before);
}

TEST_CASE("a batch norm is folded only where nothing is recorded, in float32") {
  const Tensor x = random_tensor({1, 8, 6, 6}, -1, 1, 1);
  Tensor weight = random_tensor({16, 8, 3, 3}, -0.3, 0.3, 2);
  const NormLayer norm = random_norm(16, 4);
  CHECK(FoldedNorm::serves(x, weight, {}, norm));
  CHECK_FALSE(FoldedNorm::serves(x.to(DType::f64), weight, {}, norm));
  weight.set_requires_grad(true);
  CHECK(FoldedNorm::serves(x, weight, {}, norm));
  Tape tape;
  const Tape::Scope recording(tape);
  CHECK_FALSE(FoldedNorm::serves(x, weight, {}, norm));
  const Tape::NoGrad inference;
  CHECK(FoldedNorm::serves(x, weight, {}, norm));
}

TEST_CASE("a folded batch norm refuses a convolution with a ReLU of its own") {
  const Tensor x = random_tensor({1, 8, 6, 6}, -1, 1, 1);
  FoldedNorm folded;
  CHECK_THROWS_WITH(folded.forward(x, random_tensor({16, 8, 3, 3}, -1, 1, 2), {},
                                   Conv2dOptions::square(1, 1, true), random_norm(16, 4)),
                    Catch::Contains("without a ReLU"));
}
