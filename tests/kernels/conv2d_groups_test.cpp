// Convolutions with groups and dilation against torch: the reference loops and oneDNN's plans.
#include "kernels/conv/conv2d.h"
#include "tests/kernels/map_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

struct Case {
  Conv2dParams p;
  Golden<double> x, w, b, y, dy, dx, dw, db;
};

Case load(const std::string& name) {
  const std::string group = "conv/" + name;
  const auto array = [&](const char* key) { return golden_f64("graph_ops", group + "/" + key); };
  const auto value = [&](const char* key) {
    return static_cast<int>(golden_attribute("graph_ops", group, key));
  };
  Case c{{},          array("x"),  array("w"),  array("b"), array("y"),
         array("dy"), array("dx"), array("dw"), array("db")};
  Conv2dParams& p = c.p;
  p.input = {c.x.shape[0], c.x.shape[1], c.x.shape[2], c.x.shape[3], 1};
  p.out_channels = c.w.shape[0];
  p.kernel_h = static_cast<int>(c.w.shape[2]), p.kernel_w = static_cast<int>(c.w.shape[3]);
  p.stride_h = value("stride_h"), p.stride_w = value("stride_w");
  p.pad_h = value("pad_h"), p.pad_w = value("pad_w");
  p.dilation_h = value("dilation_h"), p.dilation_w = value("dilation_w");
  p.groups = value("groups");
  return c;
}

template <typename T>
std::vector<T> narrow(const std::vector<double>& values) {
  return {values.begin(), values.end()};
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

/// Blocks of x and y to try, 0 for NHWC.
constexpr int64_t kBlocks[] = {1, 0, 8, 16};

void set_blocks(Conv2dParams& p, int64_t block) {
  p.input.block = block == 0 ? p.input.c : block;
  p.out_block = block == 0 ? p.out_channels : block;
}

}  // namespace

TEMPLATE_TEST_CASE("conv2d reference: groups and dilation equal torch's in every layout", "", float,
                   double) {
  using T = TestType;
  const double rtol = sizeof(T) == 8 ? 1e-12 : 1e-5, atol = rtol;
  for (const std::string& name : golden_members("graph_ops", "conv"))
    for (const int64_t block : kBlocks) {
      Case c = load(name);
      set_blocks(c.p, block);
      INFO("conv/" << name << " block " << block);
      const auto x = blocked<T>(c.p.input, c.x.values), dy = blocked<T>(c.p.output(), c.dy.values);
      const auto w = narrow<T>(c.w.values), b = narrow<T>(c.b.values);
      OutputMap<T> y(c.p.output()), dx(c.p.input);
      GuardedBuffer<T> dw(w.size()), db(b.size());
      cpu::conv2d_forward_reference(c.p, x.data(), w.data(), b.data(), y.data());
      cpu::conv2d_backward_data_reference(c.p, dy.data(), w.data(), dx.data());
      cpu::conv2d_backward_weights_reference(c.p, x.data(), dy.data(), dw.data(), db.data());
      FRCNN_CHECK_SAME(y.result(), c.y.values, rtol, atol);
      FRCNN_CHECK_SAME(dx.result(), c.dx.values, rtol, atol);
      FRCNN_CHECK_SAME(values_of(dw), c.dw.values, rtol, atol);
      FRCNN_CHECK_SAME(values_of(db), c.db.values, rtol, atol);
    }
}

TEST_CASE("conv2d plans: groups and dilation equal torch's in every layout") {
  for (const std::string& name : golden_members("graph_ops", "conv"))
    for (const int64_t block : kBlocks) {
      Case c = load(name);
      Conv2dParams& p = c.p;
      set_blocks(p, block);
      const auto x = blocked<float>(p.input, c.x.values);
      const auto dy = blocked<float>(p.output(), c.dy.values);
      const auto w = narrow<float>(c.w.values), b = narrow<float>(c.b.values);
      const auto run = [&](LayerPass pass, const auto& call) {
        const auto plan = cpu::conv2d_plan(p, pass);
        INFO("conv/" << name << " block " << block << " " << plan->implementation());
        Scratch packed(plan->packed_weight_bytes()), scratch(plan->scratch_bytes());
        if (pass != LayerPass::backward_weights) plan->pack_weights(w.data(), packed.get());
        call(*plan, packed.get(), scratch.get());
      };
      OutputMap<float> y(p.output()), dx(p.input);
      GuardedBuffer<float> dw(w.size()), db(b.size());
      run(LayerPass::forward_inference, [&](const auto& plan, void* packed, void* scratch) {
        plan.forward(x.data(), packed, b.data(), y.data(), scratch);
        FRCNN_CHECK_SAME(y.result(), c.y.values, 1e-5, 1e-5);
      });
      run(LayerPass::backward_data, [&](const auto& plan, void* packed, void* scratch) {
        plan.backward_data(dy.data(), packed, dx.data(), scratch);
        FRCNN_CHECK_SAME(dx.result(), c.dx.values, 1e-5, 1e-5);
      });
      run(LayerPass::backward_weights, [&](const auto& plan, void* packed, void* scratch) {
        plan.backward_weights(x.data(), dy.data(), dw.data(), db.data(), packed, scratch);
        FRCNN_CHECK_SAME(values_of(dw), c.dw.values, 1e-5, 1e-5);
        FRCNN_CHECK_SAME(values_of(db), c.db.values, 1e-5, 1e-5);
      });
    }
}

TEST_CASE("conv2d: groups and dilations that make no sense are refused with their numbers") {
  Conv2dParams p;
  p.input = {1, 6, 4, 4, 1};
  p.out_channels = 8;
  const auto with = [&](int groups, int dilation) {
    Conv2dParams q = p;
    q.groups = groups;
    q.dilation_h = dilation;
    check_conv2d("conv2d", q);
  };
  CHECK_THROWS_WITH(with(3, 1), mentions("divides the 6 input and 8 output channels, got 3"));
  CHECK_THROWS_WITH(with(0, 1), mentions("got 0"));
  CHECK_THROWS_WITH(with(1, 0), mentions("dilation 0x1"));
  CHECK_THROWS_WITH(with(1, 3), mentions("3x3 kernel does not fit a map of 6 x 4 x 4"));
  with(2, 1);
}

TEST_CASE("conv2d plans: groups and dilation in the preferred blocks need no reference loops") {
  if (cpu::preferred_channel_block() == 1) {
    WARN("[skipped] this processor has no AVX2");
    return;
  }
  struct Shape {
    int64_t in, out;
    int groups, stride, dilation;
  };
  for (const Shape& s : {Shape{24, 24, 24, 1, 1}, Shape{32, 32, 32, 2, 1},
                         Shape{128, 128, 32, 1, 1}, Shape{16, 16, 4, 1, 1}, Shape{96, 256, 2, 1, 1},
                         Shape{32, 32, 1, 1, 2}, Shape{32, 48, 1, 2, 2}, Shape{64, 64, 2, 1, 2},
                         Shape{32, 32, 32, 1, 2}, Shape{16, 32, 16, 1, 1}, Shape{3, 48, 3, 2, 1}})
    for (const LayerPass pass : {LayerPass::forward_inference, LayerPass::forward_training,
                                 LayerPass::backward_data, LayerPass::backward_weights}) {
      Conv2dParams p;
      p.input = {1, s.in, 14, 14, 1};
      p.out_channels = s.out;
      p.groups = s.groups;
      p.stride_h = p.stride_w = s.stride;
      p.pad_h = p.pad_w = p.dilation_h = p.dilation_w = s.dilation;
      const cpu::ConvBlocks blocks = cpu::preferred_conv_blocks(p);
      p.input.block = blocks.in, p.out_block = blocks.out;
      const auto plan = cpu::conv2d_plan(p, pass);
      INFO(s.in << " to " << s.out << ", groups " << s.groups << ", dilation " << s.dilation
                << ", blocks " << blocks.in << " " << blocks.out << ": " << plan->implementation());
      CHECK(plan->implementation().find("ref") == std::string::npos);
    }
}
