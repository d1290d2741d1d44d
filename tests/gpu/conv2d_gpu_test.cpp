#include <fmt/format.h>

#include "kernels/launch/check.h"
#include "tests/gpu/conv2d_gpu_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

// Tails of every tile: channels, outputs and pixels that are no multiples of anything; strides,
// padding, taps that no pixel uses, pixels that no tap uses.
const ConvShape kShapes[] = {
    square(1, 3, 14, 13, 5, 3, 1, 1),   // VGG's first layer
    square(2, 16, 6, 5, 24, 3, 1, 1),   // and its others
    square(1, 40, 5, 7, 9, 3, 1, 0),    //
    square(2, 8, 9, 7, 18, 1, 1, 0),    // RPN
    square(1, 3, 12, 14, 12, 7, 2, 3),  // ZF conv1, ResNet
    square(1, 3, 23, 19, 8, 11, 4, 2),  // AlexNet conv1
    square(1, 16, 9, 11, 16, 5, 2, 2),  // ZF conv2
    square(1, 24, 7, 8, 40, 3, 2, 1),   // ResNet, first of a stage
    square(2, 8, 7, 6, 16, 1, 2, 0),    // ResNet, shortcut
    square(1, 8, 10, 9, 70, 3, 1, 1),   // more outputs than a tile is wide
    {1, 5, 9, 8, 7, 3, 5, 2, 1, 0, 3},  // nothing square
    square(1, 8, 11, 11, 8, 2, 3, 1),   // pixels between the taps
};
constexpr ConvBlocks kNchw{1, 1}, kNhwc{0, 0};
using Choice = ConvChoice;

template <typename T>
std::vector<Choice> choices() {
  using V = ConvVersion;
  if constexpr (std::is_same_v<T, double>) return {{V::naive, ConvTile::automatic}};
  if constexpr (std::is_same_v<T, Bfloat16>)
    return {{V::naive, ConvTile::automatic},
            {V::mma_bf16, ConvTile::small},
            {V::mma_bf16, ConvTile::large},
            {V::wgmma_bf16, ConvTile::automatic}};
  return {{V::naive, ConvTile::automatic}, {V::tiled, ConvTile::small},
          {V::tiled, ConvTile::large},     {V::mma_tf32, ConvTile::small},
          {V::mma_tf32, ConvTile::large},  {V::mma_bf16, ConvTile::small},
          {V::mma_bf16, ConvTile::large},  {V::winograd, ConvTile::small},
          {V::winograd, ConvTile::large}};
}

}  // namespace

TEMPLATE_TEST_CASE("GPU convolution: all versions and passes equal the reference", "", float,
                   double, Bfloat16) {
  using T = TestType;
  int number = 0;
  for (const ConvShape& shape : kShapes)
    for (const Choice& choice : choices<T>())
      for (const bool nhwc : {false, true}) {
        ++number;
        // Emulated tensor cores are slow: of every shape one tile takes NCHW, the other NHWC.
        const bool slow =
            choice.tile != ConvTile::automatic && choice.version != ConvVersion::tiled;
        const bool large_takes_nhwc = (&shape - kShapes) % 2 == 0;
        if (slow && nhwc != ((choice.tile == ConvTile::large) == large_takes_nhwc)) continue;
        const Conv2dParams p = conv_params(shape, nhwc ? kNhwc : kNchw, number % 3 == 0);
        check_conv_version<T>(p, choice, number % 4 != 0);
      }
}

TEST_CASE("GPU convolution: wgmma with several rectangles, slices and stages (GPU only)") {
  // More pixels than a rectangle, more channels than a slice, more steps than stages; tails of all.
  const ConvShape shapes[] = {square(2, 72, 19, 37, 136, 3, 1, 1), square(1, 8, 5, 200, 8, 1, 1, 0),
                              square(3, 128, 7, 9, 256, 5, 1, 4),
                              square(1, 64, 3, 130, 24, 2, 1, 0)};
  for_backends([&](auto on) {
    if (!runs<decltype(on)::backend>(ConvVersion::wgmma_bf16)) return;
    for (const ConvShape& shape : shapes)
      for (const bool relu : {false, true})
        check_conv_version<Bfloat16>(conv_params(shape, kNhwc, relu),
                                     {ConvVersion::wgmma_bf16, ConvTile::automatic}, relu);
  });
}
