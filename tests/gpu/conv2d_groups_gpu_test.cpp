// Convolutions with groups and dilation on a GPU: the versions that have them, and the choice.
#include <span>

#include "tests/gpu/conv2d_gpu_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

struct GroupCase {
  ConvShape shape;
  int groups, dilation_h, dilation_w;
};

// Tails of channels (32 lanes) and cells (8 x 8); strides, pads beyond the filter, cells that no
// tap reaches, more than 9 taps, more than a piece of 256 cells.
const GroupCase kDepthwise[] = {
    {square(2, 40, 9, 10, 40, 3, 1, 1), 40, 1, 1},  {square(1, 32, 8, 8, 32, 3, 2, 1), 32, 1, 1},
    {square(1, 9, 17, 18, 9, 3, 1, 0), 9, 1, 1},    {{2, 5, 11, 7, 5, 5, 3, 1, 2, 3, 0}, 5, 1, 1},
    {square(1, 33, 13, 11, 33, 3, 1, 3), 33, 2, 3}, {square(1, 8, 14, 9, 8, 3, 2, 2), 8, 2, 1},
    {square(1, 4, 5, 6, 4, 1, 3, 0), 4, 1, 1},      {square(1, 6, 6, 7, 6, 2, 1, 3), 6, 1, 1},
    {square(1, 3, 1, 1, 3, 1, 1, 0), 3, 1, 1},
};
const GroupCase kGrouped[] = {
    {square(1, 12, 6, 7, 18, 3, 1, 1), 3, 1, 1},
    {square(2, 8, 7, 5, 8, 1, 2, 0), 4, 1, 1},
    {square(1, 6, 9, 8, 12, 3, 2, 2), 6, 2, 1},
    {{1, 4, 8, 9, 6, 3, 2, 1, 2, 1, 2}, 2, 2, 3},
};

Conv2dParams params(const GroupCase& c, ConvBlocks blocks, bool relu = false) {
  Conv2dParams p = conv_params(c.shape, blocks, relu);
  p.groups = c.groups;
  p.dilation_h = c.dilation_h, p.dilation_w = c.dilation_w;
  return p;
}
constexpr ConvBlocks kNchw{1, 1}, kNhwc{0, 0}, kBlocked{8, 16};

}  // namespace

TEMPLATE_TEST_CASE("GPU convolution: depthwise equals the reference in all passes", "", float,
                   Bfloat16) {
  for (const GroupCase& c : kDepthwise)
    for (const ConvBlocks blocks : {kNhwc, kBlocked})
      for (const bool relu : {false, true}) {
        const Conv2dParams p = params(c, blocks, relu);
        REQUIRE(gpu::conv2d_supported<TestType>(p, LayerPass::backward_weights,
                                                ConvVersion::depthwise));
        check_conv_version<TestType>(p, {ConvVersion::depthwise, ConvTile::automatic}, !relu);
      }
}

TEMPLATE_TEST_CASE("GPU convolution: naive has groups and dilation in all layouts", "", float,
                   double, Bfloat16) {
  int number = 0;
  for (const std::span<const GroupCase> list :
       {std::span<const GroupCase>(kDepthwise), std::span<const GroupCase>(kGrouped)})
    for (const GroupCase& c : list)
      for (const ConvBlocks blocks : {kNchw, kNhwc, kBlocked}) {
        ++number;
        check_conv_version<TestType>(params(c, blocks, number % 2 == 0),
                                     {ConvVersion::naive, ConvTile::automatic}, number % 3 != 0);
      }
}

TEST_CASE("GPU convolution: the choice falls back from versions without groups and dilation") {
  constexpr LayerPass kForward = LayerPass::forward_training;
  const auto why = [](const Conv2dParams& p, ConvVersion version) {
    std::string reason;
    CHECK_FALSE(gpu::conv2d_supported<float>(p, kForward, version, &reason));
    return reason;
  };
  const Conv2dParams grouped = params(kGrouped[0], kNhwc);
  CHECK(gpu::conv2d_version<float>(grouped, kForward) == ConvVersion::naive);
  CHECK(why(grouped, ConvVersion::tiled) == "it has no groups");
  CHECK(why(grouped, ConvVersion::depthwise) ==
        "it needs one filter for each channel (groups = channels of x and y)");
  const Conv2dParams depthwise = params(kDepthwise[0], kNhwc);
  for (const LayerPass pass : {kForward, LayerPass::backward_data, LayerPass::backward_weights}) {
    CHECK(gpu::conv2d_version<float>(depthwise, pass) == ConvVersion::depthwise);
    CHECK(gpu::conv2d_version<Bfloat16>(depthwise, pass) == ConvVersion::depthwise);
    CHECK(gpu::conv2d_version<double>(depthwise, pass) == ConvVersion::naive);
  }
  const Conv2dParams nchw = params(kDepthwise[0], kNchw);
  CHECK(gpu::conv2d_version<float>(nchw, kForward) == ConvVersion::naive);
  CHECK(why(nchw, ConvVersion::depthwise) == "it needs channels side by side (NHWC or blocked)");
  const Conv2dParams wide = params({square(1, 4, 64, 64, 4, 3, 1, 18), 4, 18, 18}, kNhwc);
  CHECK(gpu::conv2d_version<float>(wide, kForward) == ConvVersion::naive);
  CHECK(why(wide, ConvVersion::depthwise) ==
        "the cells under a tile do not fit 64 KiB of shared memory");
  Conv2dParams broken = grouped;
  broken.groups = 5;
  CHECK(why(broken, ConvVersion::naive) == "5 groups do not divide the channels");
}

TEST_CASE("GPU convolution: depthwise of no images gives zero gradients") {
  Conv2dParams p = params(kDepthwise[0], kNhwc);
  p.input.n = 0;
  const ConvData<float> data(p);
  for_backends([&](auto on) {
    const ConvRun<decltype(on)::backend, float> run(p, ConvVersion::depthwise, data, true,
                                                    ConvTile::automatic);
    CHECK(run.forward().empty());
    CHECK(run.backward_data().empty());
    const auto gradients = run.backward_weights();
    CHECK(gradients.first == std::vector<float>(gradients.first.size(), 0.0f));
    CHECK(gradients.second == std::vector<float>(gradients.second.size(), 0.0f));
  });
}
