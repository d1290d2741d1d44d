// The operations of imported networks: float64 gradient checks in every layout, shapes, refusals.
#include <limits>

#include "engine/ops/conv2d.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/pooling.h"
#include "engine/tape.h"
#include "tests/engine/gradient_check.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

using Inputs = std::vector<Tensor>;

Tensor random(const Shape& shape, uint64_t seed, double low = -1, double high = 1) {
  return Tensor::from(shape,
                      random_vector<double>(static_cast<size_t>(shape.numel()), low, high, seed));
}

constexpr int64_t kBlocks[] = {1, 5, 8, 16};  // of maps with 5 channels: NCHW, NHWC, padded blocks

/// gradient_error() of f on inputs[0] in each layout.
std::string error_in_layouts(const std::function<Tensor(const Inputs&)>& f, const Inputs& inputs) {
  for (const int64_t block : kBlocks) {
    const std::string error = gradient_error(
        [&](const Inputs& in) {
          Inputs moved = in;
          moved[0] = convert_block(in[0], block);
          return f(moved);
        },
        inputs);
    if (!error.empty()) return "block " + std::to_string(block) + ": " + error;
  }
  return {};
}

}  // namespace

TEST_CASE("gradient check: conv2d with groups, depthwise, dilation, unequal strides and pads") {
  const auto check_case = [](const Conv2dOptions& options, const Shape& x, const Shape& w) {
    CHECK(gradient_error([&](const Inputs& in) { return conv2d(in[0], in[1], in[2], options); },
                         {random(x, 1), random(w, 2), random({w[0]}, 3)}) == "");
  };
  check_case({2, 1, 1, 0, 1, 1, 1, false}, {2, 3, 5, 6}, {4, 3, 3, 2});
  check_case({1, 1, 1, 1, 2, 1, 1, true}, {2, 6, 4, 5}, {4, 3, 3, 3});
  check_case({1, 2, 1, 2, 6, 1, 1, false}, {2, 6, 5, 5}, {6, 1, 3, 3});
  check_case({1, 1, 1, 1, 3, 1, 1, false}, {1, 3, 4, 4}, {6, 1, 3, 3});  // two filters a channel
  check_case({1, 1, 2, 3, 1, 2, 3, false}, {1, 2, 7, 8}, {3, 2, 3, 3});
  check_case({2, 1, 2, 0, 2, 2, 1, true}, {1, 4, 7, 5}, {6, 2, 3, 2});
}

TEST_CASE("gradient check: average pooling and global average pooling in all layouts") {
  for (const bool include : {false, true})
    for (const bool ceil_mode : {false, true}) {
      const kernels::AvgPoolParams p{3, 2, 2, 3, 1, 1, ceil_mode, include};
      CHECK(error_in_layouts([&](const Inputs& in) { return avg_pool2d(in[0], p); },
                             {random({2, 5, 6, 7}, 1)}) == "");
    }
  CHECK(error_in_layouts([](const Inputs& in) { return global_avg_pool2d(in[0]); },
                         {random({2, 5, 3, 4}, 1)}) == "");
}

TEST_CASE("gradient check: leaky_relu, clip and sigmoid in all layouts") {
  const Inputs x = {random({2, 5, 3, 2}, 4)};
  for (const double slope : {0.0, 0.2, -0.5})
    CHECK(error_in_layouts([&](const Inputs& in) { return leaky_relu(in[0], slope); }, x) == "");
  CHECK(error_in_layouts([](const Inputs& in) { return clip(in[0], -0.5, 0.4); }, x) == "");
  CHECK(error_in_layouts([](const Inputs& in) { return clip(in[0], 0.1, 0.4); }, x) == "");
  CHECK(error_in_layouts([](const Inputs& in) { return sigmoid(in[0]); }, x) == "");
}

TEST_CASE("gradient check: add, sub and mul of equal shapes and spread") {
  for (const auto op : {add, sub, mul}) {
    const auto apply = [&](const Inputs& in) { return op(in[0], in[1]); };
    const Tensor x = random({2, 5, 3, 2}, 1);
    for (const Shape& s : {Shape{2, 5, 3, 2}, Shape{1, 5, 1, 1}, Shape{5}, Shape{5, 1, 1}, Shape{1},
                           Shape{1, 1, 1, 1}, Shape{2, 5, 1, 1}})
      CHECK(error_in_layouts(apply, {x, random(s, 2)}) == "");
    CHECK(gradient_error(apply, {random({4, 3}, 1), random({3}, 2)}) == "");
    CHECK(gradient_error(apply, {random({4, 3}, 1), random({1, 3}, 2)}) == "");
    CHECK(gradient_error(apply, {random({4, 3, 2}, 1), random({1}, 2)}) == "");
    CHECK(gradient_error([&](const Inputs& in) { return op(in[0], in[0]); }, {x}) == "");
    // b in another layout than a, and spread from a blocked map
    CHECK(gradient_error([&](const Inputs& in) { return op(in[0], convert_block(in[1], 8)); },
                         {x, random({2, 5, 3, 2}, 3)}) == "");
    CHECK(gradient_error([&](const Inputs& in) { return op(in[0], convert_block(in[1], 8)); },
                         {x, random({2, 5, 1, 1}, 3)}) == "");
  }
}

TEST_CASE("gradient check: concat_channels of equal and mixed layouts, pad2d") {
  const Inputs maps = {random({2, 5, 3, 2}, 1), random({2, 16, 3, 2}, 2), random({2, 1, 3, 2}, 3)};
  for (const std::vector<int64_t>& blocks :
       {std::vector<int64_t>{1, 1, 1}, {5, 16, 1}, {8, 8, 8}, {16, 16, 16}, {8, 1, 16}, {1, 16, 8}})
    CHECK(gradient_error(
              [&](const Inputs& in) {
                Inputs moved;
                for (size_t i = 0; i < in.size(); ++i)
                  moved.push_back(convert_block(in[i], blocks[i]));
                return concat_channels(moved);
              },
              maps) == "");
  CHECK(gradient_error(
            [](const Inputs& in) {
              return concat_channels({in[0], in[0]});
            },
            {maps[0]}) == "");
  CHECK(error_in_layouts([](const Inputs& in) { return pad2d(in[0], 1, 2, 0, 3, 0.5); },
                         {maps[0]}) == "");
}
