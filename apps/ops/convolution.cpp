#include "apps/ops/convolution.h"

#include "apps/ops/definitions.h"
#include "kernels/conv/conv2d_gpu.h"

namespace frcnn::apps::ops {
namespace {

using namespace kernels;

std::vector<ArrayDoc> conv_inputs() {
  return {array_doc("x", Type::f32, "(N, C, H, W)", "map"),
          array_doc("w", Type::f32, "(O, D, kh, kw)", "filters; D = C / groups"),
          optional(array_doc("b", Type::f32, "(O)", "bias"))};
}

std::vector<ParameterDoc> conv_parameters() {
  return {integer("stride_h", 1, "rows between windows"),
          integer("stride_w", 1, "columns between windows"),
          integer("pad_h", 0, "zero rows around the map"),
          integer("pad_w", 0, "zero columns around the map"),
          integer("groups", 1, "runs of channels that do not see each other"),
          integer("dilation_h", 1, "rows between the taps of a filter"),
          integer("dilation_w", 1, "columns between the taps of a filter"),
          layout_parameter(),
          word("out_layout", "same", "of y in device memory",
               {"same", "nchw", "nhwc", "blocked8", "blocked16"})};
}

Tolerance conv_tolerance(const std::string& version, const std::string& type) {
  const auto has = [&](const char* part) { return version.find(part) != std::string::npos; };
  if (type == "f64") return within(16 * 0x1.0p-53, 0, "sums in another order");
  if (has("bf16") || type == "bf16")
    return within(1.2 * 0x1.0p-7, 0, "factors and results rounded to bfloat16: 2^-8 each");
  if (has("tf32")) return within(1.2 * 0x1.0p-10, 0, "factors rounded to tf32: 2^-11 each");
  Tolerance t = within(16 * 0x1.0p-24, 0, "float32 sums; the CPU's reference sums in double");
  if (has("winograd") || version.empty()) {
    t = within(64 * 0x1.0p-24, 0, "Winograd's transforms mix the numbers of a tile");
    t.of_largest = true;
  }
  return t;
}

double conv_flops(const Case& c, const std::string& pass) {
  if (pass != "forward" && pass != "backward_data" && pass != "backward_weights") return 0;
  const Extent &x = c.arrays.at("x").extent(), &w = c.arrays.at("w").extent();
  const auto param = [&](const char* name, int64_t standard) {
    return c.params.contains(name) ? std::get<int64_t>(c.params.at(name)) : standard;
  };
  const int64_t extent_h = param("dilation_h", 1) * (w[2] - 1) + 1;
  const int64_t extent_w = param("dilation_w", 1) * (w[3] - 1) + 1;
  const int64_t h = (x[2] + 2 * param("pad_h", 0) - extent_h) / param("stride_h", 1) + 1;
  const int64_t columns = (x[3] + 2 * param("pad_w", 0) - extent_w) / param("stride_w", 1) + 1;
  return 2.0 * static_cast<double>(count_of(w)) * static_cast<double>(x[0] * h * columns);
}

/// A small convolution of any kind; most are 3x3 with stride 1, as Winograd wants them.
Case random_conv(Random& r, bool pooled) {
  Case c;
  const bool plain = pooled || r.chance(0.7);
  const int64_t kh = plain ? 3 : r.pick<int64_t>({1, 2, 3, 5}), kw = plain ? 3 : r.between(1, 4);
  const int64_t pad_h = r.between(0, kh / 2), pad_w = r.between(0, kw / 2);
  const int64_t least = pooled ? 1 : 0;  // a pooled map has 2 rows and columns
  const Extent x = {r.size(2), r.size(20), kh + least + r.below(9), kw + least + r.below(9)};
  const int64_t channels = r.size(20);
  c.arrays["x"] = r.floats(x, -1, 1);
  c.arrays["w"] = r.floats({channels, x[1], kh, kw}, -1, 1);
  if (r.chance(0.7)) c.arrays["b"] = r.floats({channels}, -1, 1);
  const int64_t stride_h = plain ? 1 : r.between(1, 2), stride_w = plain ? 1 : r.between(1, 2);
  c.params = {{"stride_h", stride_h},
              {"stride_w", stride_w},
              {"pad_h", pad_h},
              {"pad_w", pad_w},
              {"layout", r.word(layout_names())}};
  if (r.chance(0.2)) c.params["out_layout"] = r.word(layout_names());
  if (pooled) return c;
  // A ReLU's mask jumps where rounding changes a sign: with it, no gradient.
  if (r.chance(0.3))
    c.params["relu"] = true;
  else
    c.arrays["d_y"] = r.floats({x[0], channels, (x[2] + 2 * pad_h - kh) / stride_h + 1,
                                (x[3] + 2 * pad_w - kw) / stride_w + 1},
                               -1, 1);
  return c;
}

/// One with groups, mostly one for each channel and channels side by side, or dilation: for the
/// versions that have them. The others refuse it.
Case random_grouped(Random& r) {
  Case c;
  const bool depthwise = r.chance(0.9);
  const int64_t groups = depthwise ? r.between(2, 40) : r.pick<int64_t>({1, 2, 3, 4});
  const int64_t in = depthwise ? 1 : r.between(1, 5), out = depthwise ? 1 : r.between(1, 5);
  const int64_t kh = r.pick<int64_t>({1, 2, 3, 5}), kw = r.between(1, 4);
  const int64_t dilation_h = r.between(1, 2), dilation_w = r.between(1, 3);
  const int64_t extent_h = dilation_h * (kh - 1) + 1, extent_w = dilation_w * (kw - 1) + 1;
  const int64_t pad_h = r.between(0, kh / 2), pad_w = r.between(0, kw / 2);
  const int64_t stride_h = r.between(1, 2), stride_w = r.between(1, 2);
  const Extent x = {r.size(2), groups * in, extent_h + r.below(9), extent_w + r.below(9)};
  c.arrays["x"] = r.floats(x, -1, 1);
  c.arrays["w"] = r.floats({groups * out, in, kh, kw}, -1, 1);
  if (r.chance(0.7)) c.arrays["b"] = r.floats({groups * out}, -1, 1);
  c.arrays["d_y"] = r.floats({x[0], groups * out, (x[2] + 2 * pad_h - extent_h) / stride_h + 1,
                              (x[3] + 2 * pad_w - extent_w) / stride_w + 1},
                             -1, 1);
  c.params = {{"stride_h", stride_h},     {"stride_w", stride_w},
              {"pad_h", pad_h},           {"pad_w", pad_w},
              {"dilation_h", dilation_h}, {"dilation_w", dilation_w},
              {"groups", groups},         {"layout", r.word(layout_names())}};
  if (depthwise && r.chance(0.9)) c.params["layout"] = r.word({"nhwc", "blocked8", "blocked16"});
  return c;
}

/// A convolution 3x3 of VGG16 with bias, ReLU and gradients.
BenchCase vgg_conv(const std::string& name, int64_t in, int64_t out, int64_t h, int64_t w,
                   bool gradients, const std::string& type, bool pooled = false) {
  return {
      fmt::format("{} {}>{} {}x{} {}{}", name, in, out, h, w, type, gradients ? " gradients" : ""),
      [=] {
        Random r(1);
        Case c;
        c.arrays["x"] = r.floats({1, in, h, w}, -1, 1);
        c.arrays["w"] = r.floats({out, in, 3, 3}, -0.1, 0.1);
        c.arrays["b"] = r.floats({out}, -1, 1);
        if (gradients) c.arrays["d_y"] = r.floats({1, out, h, w}, -1, 1);
        c.params = {{"pad_h", int64_t{1}},
                    {"pad_w", int64_t{1}},
                    {"layout", std::string("nhwc")},
                    {"type", type}};
        if (!gradients && !pooled) c.params["relu"] = true;
        return c;
      },
      gradients};
}

struct VggLayer {
  const char* name;
  int64_t in, out, h, w;
};
constexpr VggLayer kVgg16[] = {{"conv1_1", 3, 64, 600, 1000},   {"conv1_2", 64, 64, 600, 1000},
                               {"conv2_1", 64, 128, 300, 500},  {"conv2_2", 128, 128, 300, 500},
                               {"conv3_1", 128, 256, 150, 250}, {"conv3_2", 256, 256, 150, 250},
                               {"conv3_3", 256, 256, 150, 250}, {"conv4_1", 256, 512, 75, 125},
                               {"conv4_2", 512, 512, 75, 125},  {"conv4_3", 512, 512, 75, 125},
                               {"conv5_1", 512, 512, 37, 62},   {"conv5_2", 512, 512, 37, 62},
                               {"conv5_3", 512, 512, 37, 62}};

std::vector<BenchCase> conv_bench(const std::string& shapes, bool pooled) {
  if (shapes == "small") {
    std::vector<BenchCase> cases;
    for (const char* type : {"f32", "bf16"})
      cases.push_back(vgg_conv("small", 32, 32, 20, 20, false, type, pooled));
    if (!pooled) cases.push_back(vgg_conv("small", 32, 32, 20, 20, true, "f32"));
    return cases;
  }
  std::vector<BenchCase> cases;
  for (const char* type : {"f32", "bf16"})
    for (const VggLayer& l : kVgg16) {
      const bool before_pool =
          std::string_view(l.name).ends_with("_2")
              ? l.h > 150
              : std::string_view(l.name) == "conv3_3" || std::string_view(l.name) == "conv4_3";
      if (!pooled || before_pool)
        cases.push_back(vgg_conv(l.name, l.in, l.out, l.h, l.w, false, type, pooled));
    }
  if (!pooled)
    for (const char* type : {"f32", "bf16"})
      for (const VggLayer& l : kVgg16)
        cases.push_back(vgg_conv(l.name, l.in, l.out, l.h, l.w, true, type));
  return cases;
}

}  // namespace

void add_convolution(Operations& list) {
  Ladder versions = ladder("kConvVersions", kConvVersions, "");
  Operation conv = describe(
      "conv2d", "conv", "convolution with bias and ReLU", "kernels/conv/conv2d_gpu.h",
      {"conv2d_forward", "conv2d_backward_data", "conv2d_backward_weights", "conv2d_pack_weights",
       "conv2d_forward_reference", "conv2d_backward_data_reference",
       "conv2d_backward_weights_reference", "conv2d_forward_cudnn", "conv2d_backward_data_cudnn",
       "conv2d_backward_weights_cudnn", "conv2d_pack_weights_vendor", "conv2d_forward_cublas",
       "conv2d_backward_data_cublas", "conv2d_backward_weights_cublas"});
  conv.inputs = conv_inputs();
  conv.outputs = {with_gradient(array_doc("y", Type::f32, "(N, O, out_h, out_w)", "map"))};
  conv.params = conv_parameters();
  conv.params.push_back(flag("relu", false, "max(., 0) follows"));
  conv.types = {"f32", "f64", "bf16"};
  conv.ladders = {versions};
  for (const VendorVersion& v : kVendorVersions)
    conv.ladders[0].gpu.push_back({v.name, v.idea, 80, !v.cudnn, conv.ladders[0].gpu.size()});
  conv.ladders[0].cpu =
      cpu_versions({{"reference", "the equation as loops, sums in double"},
                    {"onednn", "oneDNN: Winograd where it is known to win, else direct"},
                    {"onednn_direct", "oneDNN's direct convolution"},
                    {"onednn_winograd", "oneDNN's Winograd where the shape allows it"}});
  conv.ladders[0].cpu_standard = "onednn";
  conv.prepare = prepare_conv;
  conv.tolerance = conv_tolerance;
  conv.traffic = [](const std::string& pass) { return product_traffic(pass); };
  conv.magnitudes = {"x", "w", "b", "d_y"};
  conv.flops = conv_flops;
  conv.random_case = [](Random& r) {
    return r.chance(0.2) ? random_grouped(r) : random_conv(r, false);
  };
  conv.bench = [](const std::string& shapes) { return conv_bench(shapes, false); };
  list.push_back(conv);

  Operation pooled = describe("conv2d_relu_pool", "conv",
                              "convolution, bias, ReLU and 2x2 max pooling in one kernel",
                              "kernels/conv/conv2d_gpu.h", {"conv2d_relu_pool_forward"});
  pooled.inputs = conv_inputs();
  ArrayDoc window = array_doc("window", Type::u8, "(N, O, pooled_h, pooled_w)",
                              "where in its window each maximum lies");
  window.compared = false;  // rounding decides between maxima that are nearly equal
  pooled.outputs = {array_doc("y", Type::f32, "(N, O, pooled_h, pooled_w)", "pooled map"), window};
  pooled.params = conv_parameters();
  pooled.params.push_back(flag("ceil_mode", false, "a last window that is partly inside counts"));
  pooled.types = {"f32", "bf16"};
  pooled.ladders = {versions};
  std::erase_if(pooled.ladders[0].gpu, [](const Version& v) {
    return v.name != "tiled" && v.name != "mma_tf32" && v.name != "mma_bf16";
  });
  pooled.ladders[0].gpu_standard = "tiled";
  pooled.ladders[0].cpu = cpu_versions({{"reference", "convolution as loops, then pooling"},
                                        {"onednn", "oneDNN's convolution, then pooling"}});
  pooled.ladders[0].cpu_standard = "onednn";
  pooled.prepare = prepare_conv_pool;
  pooled.tolerance = conv_tolerance;
  pooled.magnitudes = {"x", "w", "b"};
  pooled.flops = conv_flops;
  pooled.random_case = [](Random& r) { return random_conv(r, true); };
  pooled.bench = [](const std::string& shapes) { return conv_bench(shapes, true); };
  list.push_back(pooled);
}

}  // namespace frcnn::apps::ops
