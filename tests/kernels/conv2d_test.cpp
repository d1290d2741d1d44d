#include "kernels/conv/conv2d.h"

#include <algorithm>

#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

struct Case {
  std::string name;
  Conv2dParams params;
  Golden<float> x, w, b, g, y, dx, dw, db;
};

Case load(const std::string& name) {
  Case c{name,
         {},
         golden_f32("conv", name + "/x"),
         golden_f32("conv", name + "/w"),
         golden_f32("conv", name + "/b"),
         golden_f32("conv", name + "/g"),
         golden_f32("conv", name + "/y"),
         golden_f32("conv", name + "/dx"),
         golden_f32("conv", name + "/dw"),
         golden_f32("conv", name + "/db")};
  c.params.input = {c.x.shape[0], c.x.shape[1], c.x.shape[2], c.x.shape[3], 1};
  c.params.out_channels = c.w.shape[0];
  c.params.kernel_h = static_cast<int>(c.w.shape[2]);
  c.params.kernel_w = static_cast<int>(c.w.shape[3]);
  c.params.stride_h = c.params.stride_w =
      static_cast<int>(golden_attribute("conv", name, "stride"));
  c.params.pad_h = c.params.pad_w = static_cast<int>(golden_attribute("conv", name, "padding"));
  return c;
}

/// NCHW to the layout of `map` and back.
std::vector<float> blocked(const MapLayout& map, std::span<const float> plain) {
  std::vector<float> out(static_cast<size_t>(map.size()), 0.0f);
  const MapLayout from{map.n, map.c, map.h, map.w, 1};
  for (int64_t n = 0; n < map.n; ++n)
    for (int64_t c = 0; c < map.c; ++c)
      for (int64_t h = 0; h < map.h; ++h)
        for (int64_t w = 0; w < map.w; ++w)
          out[static_cast<size_t>(map.at(n, c, h, w))] =
              plain[static_cast<size_t>(from.at(n, c, h, w))];
  return out;
}

std::vector<float> plain(const MapLayout& map, std::span<const float> values) {
  const MapLayout to{map.n, map.c, map.h, map.w, 1};
  std::vector<float> out(static_cast<size_t>(to.size()));
  for (int64_t n = 0; n < map.n; ++n)
    for (int64_t c = 0; c < map.c; ++c)
      for (int64_t h = 0; h < map.h; ++h)
        for (int64_t w = 0; w < map.w; ++w)
          out[static_cast<size_t>(to.at(n, c, h, w))] =
              values[static_cast<size_t>(map.at(n, c, h, w))];
  return out;
}

/// 64-byte aligned scratch memory.
struct Scratch {
  explicit Scratch(size_t bytes) : memory(bytes + 64) {}
  void* get() {
    void* p = memory.data();
    size_t space = memory.size();
    return std::align(64, 1, p, space);
  }
  std::vector<std::byte> memory;
};

const std::vector<std::string> kCases = {"first_layer", "zf_conv1",   "alexnet_conv1", "winograd",
                                         "narrow",      "one_by_one", "five"};

}  // namespace

TEST_CASE("conv2d reference: forward and both backwards equal torch's") {
  for (const std::string& name : kCases) {
    const Case c = load(name);
    INFO(name);
    GuardedBuffer<float> y(c.y.values.size()), dx(c.dx.values.size()), dw(c.dw.values.size()),
        db(c.db.values.size());
    cpu::conv2d_forward_reference(c.params, c.x.values.data(), c.w.values.data(), c.b.values.data(),
                                  y.data());
    FRCNN_CHECK_SAME(y.span(), c.y.values, 1e-5, 1e-6);
    cpu::conv2d_backward_data_reference(c.params, c.g.values.data(), c.w.values.data(), dx.data());
    FRCNN_CHECK_SAME(dx.span(), c.dx.values, 1e-4, 1e-5);
    cpu::conv2d_backward_weights_reference(c.params, c.x.values.data(), c.g.values.data(),
                                           dw.data(), db.data());
    FRCNN_CHECK_SAME(dw.span(), c.dw.values, 1e-4, 1e-5);
    FRCNN_CHECK_SAME(db.span(), c.db.values, 1e-4, 1e-5);
    CHECK((y.guards_intact() && dx.guards_intact() && dw.guards_intact() && db.guards_intact()));
  }
}

TEST_CASE("conv2d plans: forward and both backwards equal torch's in the preferred layout") {
  using Pass = LayerPass;
  const int64_t block = cpu::preferred_channel_block();
  for (const std::string& name : kCases) {
    for (const ConvAlgorithm algorithm : {ConvAlgorithm::direct, ConvAlgorithm::automatic}) {
      for (const bool relu : {false, true}) {
        Case c = load(name);
        Conv2dParams p = c.params;
        if (p.input.c > 3) p.input.block = block;
        p.out_block = block;
        p.algorithm = algorithm;
        p.relu = relu;
        const std::vector<float> x = blocked(p.input, c.x.values),
                                 g = blocked(p.output(), c.g.values);
        std::vector<float> expected = c.y.values;
        if (relu)
          for (float& v : expected) v = std::max(v, 0.0f);
        for (const Pass pass : {Pass::forward_inference, Pass::forward_training}) {
          const auto plan = cpu::conv2d_plan(p, pass);
          INFO(name << " " << plan->implementation() << " relu " << relu);
          GuardedBuffer<float> y(static_cast<size_t>(p.output().size()));
          Scratch packed(plan->packed_weight_bytes()), scratch(plan->scratch_bytes());
          plan->pack_weights(c.w.values.data(), packed.get());
          plan->forward(x.data(), packed.get(), c.b.values.data(), y.data(), scratch.get());
          FRCNN_CHECK_SAME(plain(p.output(), y.span()), expected, 1e-4, 2e-5);
          CHECK(y.guards_intact());
        }
        if (p.input.c > 3) {  // the gradient of a picture is never asked for
          const auto plan = cpu::conv2d_plan(p, Pass::backward_data);
          INFO(name << " " << plan->implementation());
          GuardedBuffer<float> dx(static_cast<size_t>(p.input.size()));
          Scratch packed(plan->packed_weight_bytes()), scratch(plan->scratch_bytes());
          plan->pack_weights(c.w.values.data(), packed.get());
          plan->backward_data(g.data(), packed.get(), dx.data(), scratch.get());
          FRCNN_CHECK_SAME(plain(p.input, dx.span()), c.dx.values, 1e-4, 2e-5);
          CHECK(dx.guards_intact());
        }
        const auto plan = cpu::conv2d_plan(p, Pass::backward_weights);
        INFO(name << " " << plan->implementation());
        GuardedBuffer<float> dw(c.dw.values.size()), db(c.db.values.size());
        Scratch packed(plan->packed_weight_bytes()), scratch(plan->scratch_bytes());
        plan->backward_weights(x.data(), g.data(), dw.data(), db.data(), packed.get(),
                               scratch.get());
        FRCNN_CHECK_SAME(dw.span(), c.dw.values, 1e-4, 1e-4);
        FRCNN_CHECK_SAME(db.span(), c.db.values, 1e-4, 1e-5);
        CHECK((dw.guards_intact() && db.guards_intact()));
      }
    }
  }
}

TEST_CASE("conv2d plans: Winograd is taken by name where it wins, with AVX-512") {
  if (cpu::preferred_channel_block() != 16) {
    WARN("[skipped] this processor has no AVX-512");
    return;
  }
  Conv2dParams p;
  p.input = {1, 128, 40, 40, 16};
  p.out_channels = 128;
  p.out_block = 16;
  p.pad_h = p.pad_w = 1;
  const auto plan = cpu::conv2d_plan(p, LayerPass::forward_training);
  if (plan->implementation().find("wino") == std::string::npos)
    WARN("this oneDNN has no Winograd: " << plan->implementation());
  p.algorithm = ConvAlgorithm::direct;
  const auto direct = cpu::conv2d_plan(p, LayerPass::forward_training);
  CHECK(direct->implementation().find("wino") == std::string::npos);
  CHECK(cpu::conv2d_plan(p, LayerPass::forward_training) == direct);
}

TEST_CASE("conv2d plans: an impossible shape is refused with its numbers") {
  Conv2dParams p;
  p.input = {1, 3, 2, 2, 1};
  p.out_channels = 4;
  p.kernel_h = p.kernel_w = 5;
  CHECK_THROWS_WITH(cpu::conv2d_plan(p, LayerPass::forward_training),
                    mentions("5x5 kernel does not fit a map of 3 x 2 x 2"));
}

TEST_CASE("convolution: Winograd only where its tiles come in groups") {
  const auto winograd = [](int64_t side) {
    Conv2dParams p;
    p.input = {1, 64, side, side, 16};
    p.out_channels = 64, p.out_block = 16;
    p.kernel_h = p.kernel_w = 3;
    p.pad_h = p.pad_w = 1;
    return cpu::conv2d_plan(p, LayerPass::forward_inference)->implementation().find("wino") !=
           std::string::npos;
  };
  if (!winograd(184)) {  // 46 x 46 tiles, groups of 23
    WARN("no Winograd on this processor");
    return;
  }
  CHECK_FALSE(winograd(188));  // 47 x 47
  CHECK(winograd(196));        // 49 x 49, groups of 7
}
