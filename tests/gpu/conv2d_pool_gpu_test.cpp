// Convolution on a GPU beyond plain results: layouts, fused pooling, what results may not depend
// on, refusals, torch's numbers.
#include <fmt/format.h>

#include <limits>

#include "kernels/launch/check.h"
#include "tests/gpu/conv2d_gpu_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {
constexpr ConvBlocks kNhwc{0, 0};
const ConvVersion kGemmVersions[] = {ConvVersion::tiled, ConvVersion::mma_tf32,
                                     ConvVersion::mma_bf16};
const char* name_of(ConvVersion version) {
  return kConvVersions[static_cast<int>(version)].name;
}
template <typename T>
bool has(const Conv2dParams& p, LayerPass pass, ConvVersion version) {
  return gpu::conv2d_supported<T>(p, pass, version);
}
}  // namespace

TEMPLATE_TEST_CASE("GPU convolution: blocked and mixed layouts", "", float, Bfloat16) {
  using T = TestType;
  // 12 and 20 channels: the last blocks of 8 and 16 are padded with zeros.
  const ConvShape shapes[] = {square(1, 12, 6, 7, 20, 3, 1, 1), square(2, 12, 7, 5, 20, 3, 2, 1)};
  const ConvBlocks blocks[] = {{8, 8}, {16, 16}, {16, 8}, {1, 8}, {8, 1}, {0, 1}, {1, 0}};
  const ConvVersion versions[] = {ConvVersion::naive, ConvVersion::tiled, ConvVersion::mma_tf32,
                                  ConvVersion::mma_bf16, ConvVersion::winograd};
  for (const ConvShape& shape : shapes)
    for (const ConvBlocks& block : blocks)
      for (const ConvVersion version : versions) {
        const Conv2dParams p = conv_params(shape, block);
        if (!has<T>(p, LayerPass::forward_training, version)) continue;
        const ConvData<T> data(p);
        const ConvResult exact = conv_reference(p, version, data, true);
        const ConvResult size = conv_reference(p, version, data, true, true);
        const bool mixes = version == ConvVersion::winograd;
        for_backends([&](auto on) {
          INFO(name_of(version) << ", blocks " << block.in << " " << block.out << ", stride "
                                << p.stride_h);
          const ConvRun<decltype(on)::backend, T> run(p, version, data, true, ConvTile::automatic);
          const auto check = [&](LayerPass pass, const auto& actual, const auto& expected,
                                 const auto& magnitude) {
            const auto tolerance = ConvTolerance::of<T>(p, pass, version);
            CHECK(conv_difference(actual, expected, magnitude, tolerance, mixes) == "");
          };
          check(LayerPass::forward_training, run.forward(), exact.y, size.y);
          check(LayerPass::backward_data, run.backward_data(), exact.dx, size.dx);
          if (!has<T>(p, LayerPass::backward_weights, version)) return;
          const auto gradients = run.backward_weights();
          check(LayerPass::backward_weights, gradients.first, exact.dw, size.dw);
          check(LayerPass::backward_weights, gradients.second, exact.db, size.db);
        });
      }
}

TEMPLATE_TEST_CASE("GPU convolution: fused ReLU and pooling equal the two steps", "", float,
                   Bfloat16) {
  using T = TestType;
  struct Case {
    ConvShape shape;
    ConvBlocks blocks;
    bool ceil_mode;
  };
  // Odd maps: the last row and column belong to no window, or to one that is cut (ceil_mode).
  const Case cases[] = {{square(2, 3, 9, 11, 20, 3, 1, 1), {1, 1}, false},
                        {square(2, 8, 9, 11, 20, 3, 1, 1), {0, 0}, true},
                        {square(1, 8, 8, 6, 12, 3, 1, 1), {8, 8}, true},
                        {square(1, 16, 13, 12, 8, 5, 2, 1), {0, 0}, false}};
  for (const Case& c : cases)
    for (const ConvVersion version : kGemmVersions)
      for (const ConvTile tile : {ConvTile::small, ConvTile::large}) {
        Conv2dParams p = conv_params(c.shape, c.blocks);
        if (!has<T>(p, LayerPass::forward_training, version)) continue;
        if (tile == ConvTile::large && c.blocks.in != 0) continue;
        ConvData<T> data(p);
        data.x[17] = std::numeric_limits<double>::quiet_NaN();
        const MaxPoolParams pool = MaxPoolParams::square(2, 2, 0, c.ceil_mode);
        for_backends([&](auto on) {
          INFO(name_of(version) << ", block " << c.blocks.in << ", tile "
                                << static_cast<int>(tile));
          constexpr Backend B = decltype(on)::backend;
          const auto fused = ConvRun<B, T>(p, version, data, true, tile).pooled(pool);
          Conv2dParams with_relu = p;
          with_relu.relu = true;
          const auto y = widen(ConvRun<B, T>(with_relu, version, data, true, tile).forward());
          std::vector<double> expected(fused.y.size());
          std::vector<uint8_t> window(fused.y.size());
          cpu::max_pool_forward(p.output(), pool, y.data(), expected.data(), window.data());
          FRCNN_CHECK_SAME(widen(fused.y), expected, 0, 0, true);
          CHECK(fused.window == window);
        });
      }
}

TEST_CASE(
    "GPU convolution: split sums of the weights gradient; tiles and alignment keep the bits") {
  // 396 pixels: three ranges.
  const Conv2dParams p = conv_params(square(3, 8, 12, 11, 12, 3, 1, 1), kNhwc);
  const ConvData<float> data(p);
  for (const ConvVersion version : kGemmVersions) {
    INFO(name_of(version));
    const ConvResult exact = conv_reference(p, version, data, true);
    const ConvResult size = conv_reference(p, version, data, true, true);
    const auto tolerance = ConvTolerance::of<float>(p, LayerPass::backward_weights, version);
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      const ConvRun<B, float> small(p, version, data, true, ConvTile::small),
          large(p, version, data, true, ConvTile::large);
      const auto gradients = small.backward_weights();
      CHECK(conv_difference(gradients.first, exact.dw, size.dw, tolerance) == "");
      CHECK(gradients == large.backward_weights());
      const auto y = small.forward();
      CHECK(y == large.forward());

      // x that is not aligned to 16 bytes: element by element, the same sums.
      std::vector<float> shifted(1, 0.0f);
      const std::vector<float> x = cast<float>(data.x);
      shifted.insert(shifted.end(), x.begin(), x.end());
      const DeviceArray<B, float> dx(shifted), w(cast<float>(data.w)), b(cast<float>(data.b)),
          dy(cast<float>(data.dy)), result(y.size()), dw(w.size());
      constexpr LayerPass kForward = LayerPass::forward_training;
      const DeviceArray<B, unsigned char> packed(
          gpu::conv2d_packed_bytes<float>(p, kForward, version)),
          workspace(gpu::conv2d_workspace<float>(p, LayerPass::backward_weights, version));
      gpu::conv2d_pack_weights<B, float>(nullptr, p, kForward, w.data(), packed.data(), version);
      gpu::conv2d_forward<B>(nullptr, p, dx.data() + 1, packed.data(), b.data(), result.data(),
                             nullptr, version);
      CHECK(result.host() == y);
      gpu::conv2d_backward_weights<B, float>(nullptr, p, dx.data() + 1, dy.data(), dw.data(),
                                             nullptr, workspace.data(), version);
      CHECK(dw.host() == gradients.first);
    });
  }
}

TEST_CASE("GPU convolution: the large tile is taken where it fills the device") {
  // 133 tiles of 128 pixels and 65 outputs: automatic is large, and as right as the small one.
  const Conv2dParams p = conv_params(square(1, 4, 133, 128, 65, 1, 1, 0), kNhwc);
  const ConvData<float> data(p);
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const ConvRun<B, float> chosen(p, ConvVersion::tiled, data, true, ConvTile::automatic),
        small(p, ConvVersion::tiled, data, true, ConvTile::small);
    CHECK(chosen.forward() == small.forward());
  });
}

TEST_CASE("GPU convolution: an empty batch") {
  const Conv2dParams p = conv_params(square(0, 8, 6, 5, 8, 3, 1, 1), kNhwc);
  const ConvData<float> data(p);
  for (const ConvVersion version : {ConvVersion::naive, ConvVersion::tiled, ConvVersion::mma_tf32,
                                    ConvVersion::mma_bf16, ConvVersion::winograd})
    for_backends([&](auto on) {
      INFO(name_of(version));
      const ConvRun<decltype(on)::backend, float> run(p, version, data, true, ConvTile::automatic);
      CHECK(run.forward().empty());
      CHECK(run.backward_data().empty());
      if (!has<float>(p, LayerPass::backward_weights, version)) return;
      const auto gradients = run.backward_weights();
      CHECK(gradients.first == std::vector<float>(gradients.first.size(), 0.0f));
      CHECK(gradients.second == std::vector<float>(gradients.second.size(), 0.0f));
    });
}

TEST_CASE("GPU convolution: what a version cannot do is refused with the reason") {
  constexpr LayerPass kForward = LayerPass::forward_training;
  const auto why = [](auto t, const Conv2dParams& p, LayerPass pass, ConvVersion version) {
    std::string reason;
    CHECK_FALSE(gpu::conv2d_supported<decltype(t)>(p, pass, version, &reason));
    return reason;
  };
  const Conv2dParams p = conv_params(square(1, 8, 6, 5, 8, 3, 1, 1), kNhwc);
  CHECK(why(0.0, p, kForward, ConvVersion::tiled) == "it has no float64 maps");
  CHECK(why(Bfloat16(), p, kForward, ConvVersion::mma_tf32) == "it has no bfloat16 maps");
  CHECK(why(0.0f, p, LayerPass::backward_weights, ConvVersion::winograd) ==
        "it has no weights gradient");
  const Conv2dParams strided = conv_params(square(1, 8, 6, 5, 8, 3, 2, 1), kNhwc);
  CHECK(why(0.0f, strided, kForward, ConvVersion::winograd) == "it needs a 3x3 kernel of stride 1");
  const Conv2dParams small = conv_params(square(1, 8, 2, 2, 8, 5, 1, 1), kNhwc);
  CHECK(why(0.0f, small, kForward, ConvVersion::tiled) ==
        "a 5x5 kernel does not fit a map of 2 x 2 with padding 1x1");
  const Conv2dParams huge = conv_params(square(1, 8, 60000, 60000, 8, 3, 1, 1), kNhwc);
  CHECK(why(0.0f, huge, kForward, ConvVersion::tiled) == "the map is too large");
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const auto forward = [&](const Conv2dParams& params, ConvVersion version) {
      gpu::conv2d_forward<B, float>(nullptr, params, nullptr, nullptr, nullptr, nullptr, nullptr,
                                    version);
    };
    CHECK_THROWS_WITH(forward(strided, ConvVersion::winograd),
                      mentions("[conv2d] winograd cannot compute 1x8x6x5 to 8 channels, kernel "
                               "3x3, stride 2x2: it needs a 3x3 kernel of stride 1"));
    const auto pooled = [&](const MaxPoolParams& pool, ConvVersion version) {
      gpu::conv2d_relu_pool_forward<B, float>(nullptr, p, pool, nullptr, nullptr, nullptr, nullptr,
                                              nullptr, version);
    };
    CHECK_THROWS_WITH(pooled(MaxPoolParams::square(3, 2), ConvVersion::tiled),
                      mentions("2x2 windows"));
    CHECK_THROWS_WITH(pooled(MaxPoolParams::square(2, 2), ConvVersion::naive),
                      mentions("naive has no fused pooling"));
  });
}

TEST_CASE("GPU convolution: packing and all passes in a recorded graph take the present numbers") {
  const Conv2dParams p = conv_params(square(1, 8, 9, 8, 12, 3, 1, 1), kNhwc);
  const ConvData<float> data(p);
  for (const ConvVersion version : {ConvVersion::mma_tf32, ConvVersion::winograd})
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      INFO(name_of(version));
      const ConvRun<B, float> direct(p, version, data, true, ConvTile::automatic);
      const auto zeros = [](const std::vector<double>& like) {
        return std::vector<float>(like.size(), 0.0f);
      };
      const DeviceArray<B, float> x(zeros(data.x)), w(zeros(data.w)), b(zeros(data.b)),
          dy(cast<float>(data.dy)), y(data.dy.size()), dx(data.x.size()), dw(data.w.size());
      constexpr LayerPass kPasses[] = {LayerPass::forward_training, LayerPass::backward_data,
                                       LayerPass::backward_weights};
      const bool weights = has<float>(p, kPasses[2], version);
      size_t packed_bytes = 0, bytes = 0;
      for (const LayerPass pass : kPasses) {
        if (!has<float>(p, pass, version)) continue;
        packed_bytes = std::max(packed_bytes, gpu::conv2d_packed_bytes<float>(p, pass, version));
        bytes = std::max(bytes, gpu::conv2d_workspace<float>(p, pass, version));
      }
      const DeviceArray<B, unsigned char> packed(packed_bytes), work(bytes);
      const gpu::Stream stream = gpu::create_stream<B>();
      gpu::synchronize<B>(nullptr);
      const gpu::Graph<B> graph(stream, [&] {
        gpu::conv2d_pack_weights<B, float>(stream, p, kPasses[0], w.data(), packed.data(), version);
        gpu::conv2d_forward<B>(stream, p, x.data(), packed.data(), b.data(), y.data(), work.data(),
                               version);
        gpu::conv2d_pack_weights<B, float>(stream, p, kPasses[1], w.data(), packed.data(), version);
        gpu::conv2d_backward_data<B>(stream, p, dy.data(), packed.data(), dx.data(), work.data(),
                                     version);
        if (weights)
          gpu::conv2d_backward_weights<B, float>(stream, p, x.data(), dy.data(), dw.data(), nullptr,
                                                 work.data(), version);
      });
      const auto set = [&](const DeviceArray<B, float>& to, const std::vector<double>& values) {
        const std::vector<float> from = cast<float>(values);
        gpu::copy_to_device<B>(stream, to.data(), from.data(), from.size() * sizeof(float));
        gpu::synchronize<B>(stream);
      };
      set(x, data.x), set(w, data.w), set(b, data.b);
      graph.replay(stream);
      gpu::synchronize<B>(stream);
      CHECK(y.host() == direct.forward());
      CHECK(dx.host() == direct.backward_data());
      if (weights) CHECK(dw.host() == direct.backward_weights().first);
      gpu::destroy_stream<B>(stream);
    });
}

TEST_CASE("GPU convolution: torch's golden values") {
  for (const std::string name :
       {"first_layer", "zf_conv1", "alexnet_conv1", "narrow", "one_by_one", "five"}) {
    const auto x = golden_f32("conv", name + "/x"), w = golden_f32("conv", name + "/w"),
               b = golden_f32("conv", name + "/b"), g = golden_f32("conv", name + "/g"),
               y = golden_f32("conv", name + "/y"), dx = golden_f32("conv", name + "/dx"),
               dw = golden_f32("conv", name + "/dw"), db = golden_f32("conv", name + "/db");
    const int stride = static_cast<int>(golden_attribute("conv", name, "stride"));
    const int pad = static_cast<int>(golden_attribute("conv", name, "padding"));
    const Conv2dParams p =
        conv_params(square(x.shape[0], x.shape[1], x.shape[2], x.shape[3], w.shape[0],
                           static_cast<int>(w.shape[2]), stride, pad),
                    {1, 1});
    for (const ConvVersion version : {ConvVersion::tiled, ConvVersion::winograd}) {
      if (!has<float>(p, LayerPass::forward_training, version)) continue;
      INFO(name << ", " << name_of(version));
      ConvData<float> data(p);
      data.x = widen(x.values), data.w = widen(w.values), data.b = widen(b.values);
      data.dy = widen(g.values);
      const ConvResult size = conv_reference(p, version, data, true, true);
      const auto check = [&](LayerPass pass, const std::vector<float>& actual,
                             const Golden<float>& expected, const std::vector<double>& magnitude) {
        auto tolerance = ConvTolerance::of<float>(p, pass, version);
        tolerance.stored = std::ldexp(1.0, -24);  // the golden value's own rounding
        CHECK(conv_difference(actual, widen(expected.values), magnitude, tolerance,
                              version == ConvVersion::winograd) == "");
      };
      for_backends([&](auto on) {
        const ConvRun<decltype(on)::backend, float> run(p, version, data, true,
                                                        ConvTile::automatic);
        check(LayerPass::forward_training, run.forward(), y, size.y);
        check(LayerPass::backward_data, run.backward_data(), dx, size.dx);
        if (version == ConvVersion::winograd) return;
        const auto gradients = run.backward_weights();
        check(LayerPass::backward_weights, gradients.first, dw, size.dw);
        check(LayerPass::backward_weights, gradients.second, db, size.db);
      });
    }
  }
}
