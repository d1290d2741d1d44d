#include <cmath>

#include "apps/ops/definitions.h"
#include "kernels/pooling/precise_roi.h"
#include "kernels/pooling/roi_align.h"
#include "kernels/pooling/roi_pool.h"

namespace frcnn::apps::ops {
namespace {

using namespace kernels;

struct RoiPool {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const MapLayout map = d.map("x");
    const int64_t count = d.letter("R");
    const RoiPoolParams p{d.integer("pooled_h"), d.integer("pooled_w"), d.number("scale_y"),
                          d.number("scale_x")};
    check_rois(d, "rois", map.n);
    const Extent pooled = {count, map.c, p.pooled_h, p.pooled_w};
    const T *x = d.input_map<T>("x", map), *rois = d.input<T>("rois");
    T* y = d.output<T>("y", pooled);
    auto* argmax = d.output<int32_t>("argmax", pooled);
    const auto version = d.version<RoiPoolVersion>(0);
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::roi_pool_forward(map, p, count, x, rois, y, argmax);
      else
        gpu::roi_pool_forward<Where::backend>(nullptr, map, p, count, x, rois, y, argmax, nullptr,
                                              version);
    });
    const T* dy = d.gradient<T>("y");
    if (dy == nullptr) return;
    T* dx = d.output_map<T>("d_x", map);
    const auto backward = d.version<RoiPoolBackwardVersion>(1);
    d.pass(
        "backward",
        [=] {
          if constexpr (Where::cpu)
            cpu::roi_pool_backward(map, p, count, rois, dy, argmax, dx);
          else
            gpu::roi_pool_backward<Where::backend>(nullptr, map, p, count, rois, dy, argmax, dx,
                                                   nullptr, backward);
        },
        1);
  }
};

/// RoIAlign and precise RoI pooling: three passes of the same form.
struct AlignKernels {
  using Params = RoiAlignParams;
  using Forward = RoiAlignVersion;
  using Backward = RoiAlignBackwardVersion;
  using Slopes = RoiAlignSlopesVersion;
  static Params params(const Desk& d) {
    return {d.integer("pooled_h"), d.integer("pooled_w"),       d.number("scale_y"),
            d.number("scale_x"),   d.integer("sampling_ratio"), d.flag("aligned")};
  }
  template <typename Where, typename... Args>
  static void forward(Forward version, Args... args) {
    if constexpr (Where::cpu)
      cpu::roi_align_forward(args...);
    else
      gpu::roi_align_forward<Where::backend>(nullptr, args..., nullptr, version);
  }
  template <typename Where, typename... Args>
  static void backward(Backward version, Args... args) {
    if constexpr (Where::cpu)
      cpu::roi_align_backward(args...);
    else
      gpu::roi_align_backward<Where::backend>(nullptr, args..., nullptr, version);
  }
  template <typename Where, typename... Args>
  static void backward_rois(Slopes version, Args... args) {
    if constexpr (Where::cpu)
      cpu::roi_align_backward_rois(args...);
    else
      gpu::roi_align_backward_rois<Where::backend>(nullptr, args..., nullptr, version);
  }
};

struct PreciseKernels {
  using Params = PreciseRoiParams;
  using Forward = PreciseRoiVersion;
  using Backward = PreciseRoiBackwardVersion;
  using Slopes = PreciseRoiSlopesVersion;
  static Params params(const Desk& d) {
    return {d.integer("pooled_h"), d.integer("pooled_w"), d.number("scale_y"), d.number("scale_x")};
  }
  template <typename Where, typename... Args>
  static void forward(Forward version, Args... args) {
    if constexpr (Where::cpu)
      cpu::precise_roi_forward(args...);
    else
      gpu::precise_roi_forward<Where::backend>(nullptr, args..., nullptr, version);
  }
  template <typename Where, typename... Args>
  static void backward(Backward version, Args... args) {
    if constexpr (Where::cpu)
      cpu::precise_roi_backward(args...);
    else
      gpu::precise_roi_backward<Where::backend>(nullptr, args..., nullptr, version);
  }
  template <typename Where, typename... Args>
  static void backward_rois(Slopes version, Args... args) {
    if constexpr (Where::cpu)
      cpu::precise_roi_backward_rois(args...);
    else
      gpu::precise_roi_backward_rois<Where::backend>(nullptr, args..., nullptr, version);
  }
};

template <typename Kernels>
struct RoiLayer {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const MapLayout map = d.map("x");
    const int64_t count = d.letter("R");
    const auto p = Kernels::params(d);
    check_rois(d, "rois", map.n);
    const T *x = d.input_map<T>("x", map), *rois = d.input<T>("rois");
    T* y = d.output<T>("y", {count, map.c, p.pooled_h, p.pooled_w});
    const auto version = d.version<typename Kernels::Forward>(0);
    d.pass("forward",
           [=] { Kernels::template forward<Where>(version, map, p, count, x, rois, y); });
    const T* dy = d.gradient<T>("y");
    if (dy == nullptr) return;
    T* dx = d.output_map<T>("d_x", map);
    const auto backward = d.version<typename Kernels::Backward>(1);
    d.pass(
        "backward",
        [=] { Kernels::template backward<Where>(backward, map, p, count, rois, dy, dx); }, 1);
    T* drois = d.output<T>("d_rois", {count, 5});
    const auto slopes = d.version<typename Kernels::Slopes>(2);
    d.pass(
        "backward_rois",
        [=] { Kernels::template backward_rois<Where>(slopes, map, p, count, x, rois, dy, drois); },
        2);
  }
};

/// What the numbers of d_rois add up in absolute values, at most: the sum of |d_y| times the
/// largest |x| times the largest slope of a mean by a coordinate. `narrow`: the ends of a bin weigh
/// the inverse of its size.
Array slope_magnitudes(const Case& c, bool narrow) {
  const Array &x = c.arrays.at("x"), &dy = c.arrays.at("d_y");
  const std::vector<double> rois = c.arrays.at("rois").as<double>(), gradient = dy.as<double>();
  double largest = 0;
  for (const double v : x.as<double>()) largest = std::max(largest, std::abs(v));
  std::vector<float> sizes;
  const size_t count = rois.size() / 5, per_roi = count > 0 ? gradient.size() / count : 0;
  for (size_t r = 0; r < count; ++r) {
    double sum = 0;
    for (size_t i = r * per_roi; i < (r + 1) * per_roi; ++i) sum += std::abs(gradient[i]);
    for (size_t k = 0; k < 5; ++k) {
      const size_t axis = k % 2 == 1 ? 1 : 2;  // x1, y1, x2, y2
      const double scale = std::get<double>(c.params.at(axis == 1 ? "scale_x" : "scale_y"));
      const double bins = static_cast<double>(dy.extent()[axis == 1 ? 3 : 2]);
      const double side = (rois[5 * r + axis + 2] - rois[5 * r + axis]) * scale / bins;
      const double slope = 2 * scale / (narrow && side > 0 ? std::min(side, 1.0) : 1.0);
      sizes.push_back(static_cast<float>(k == 0 ? 0 : sum * largest * slope));
    }
  }
  return Array::of({static_cast<int64_t>(count), 5}, sizes);
}

std::vector<ParameterDoc> pooled_parameters() {
  return {integer("pooled_h", 7, "bins in y"), integer("pooled_w", 7, "bins in x"),
          number("scale_y", 1.0 / 16, "map rows per image pixel"),
          number("scale_x", 1.0 / 16, "map columns per image pixel"), layout_parameter()};
}

std::vector<ArrayDoc> roi_inputs() {
  return {array_doc("x", Type::f32, "(N, C, H, W)", "map"),
          array_doc("rois", Type::f32, "(R, 5)", "image number, x1, y1, x2, y2 in image pixels")};
}

/// Maps of a few cells and RoIs that reach beyond them.
Case random_rois(Random& r) {
  Case c;
  const Extent e = {r.size(2), r.size(40), r.between(1, 14), r.between(1, 14)};
  const int64_t rois = r.size(7, true), pooled_h = r.between(1, 7), pooled_w = r.between(1, 7);
  const double scale = r.pick<double>({1.0 / 16, 1.0 / 8, 0.3, 1});
  c.arrays["x"] = r.coarse(e, -2, 2);
  c.arrays["rois"] = r.rois(rois, e[0], 1.2 * static_cast<double>(e[2]) / scale,
                            1.2 * static_cast<double>(e[3]) / scale);
  c.arrays["d_y"] = r.floats({rois, e[1], pooled_h, pooled_w}, -1, 1);
  c.params = {{"pooled_h", pooled_h},
              {"pooled_w", pooled_w},
              {"scale_y", scale},
              {"scale_x", scale * r.pick<double>({1, 1, 0.9})},
              {"layout", r.word(layout_names())}};
  return c;
}

/// RoIs on the last map of VGG16 at 600 x 1000.
std::vector<BenchCase> roi_bench(const std::string& shapes) {
  const auto make = [](int64_t rois, int64_t channels, int64_t h, int64_t w, const char* layout) {
    return BenchCase{fmt::format("{} RoIs of {}x{}x{} {}", rois, channels, h, w, layout), [=] {
                       Random r(1);
                       Case c;
                       c.arrays["x"] = r.floats({1, channels, h, w}, 0, 1);
                       const std::vector<float> boxes =
                           r.scattered_boxes(rois, 16.0 * static_cast<double>(h),
                                             16.0 * static_cast<double>(w))
                               .as<float>();
                       std::vector<float> rows;
                       for (size_t i = 0; i < boxes.size(); i += 4) {
                         rows.push_back(0);
                         rows.insert(rows.end(), boxes.begin() + static_cast<long>(i),
                                     boxes.begin() + static_cast<long>(i) + 4);
                       }
                       c.arrays["rois"] = Array::of({rois, 5}, rows);
                       c.arrays["d_y"] = r.floats({rois, channels, 7, 7}, -1, 1);
                       c.params["layout"] = std::string(layout);
                       return c;
                     }};
  };
  if (shapes == "small") return {make(16, 32, 20, 20, "nhwc")};
  return {make(128, 512, 37, 62, "nhwc"), make(300, 512, 37, 62, "nhwc"),
          make(300, 512, 37, 62, "nchw"), make(2000, 512, 37, 62, "nhwc")};
}

/// What both differentiable layers have in common.
void finish_layer(Operation& op, bool narrow) {
  op.inputs = roi_inputs();
  op.outputs = {
      with_gradient(array_doc("y", Type::f32, "(R, C, pooled_h, pooled_w)", "means of the bins"))};
  op.tolerance = rounding(32, "the same terms, added in another order or by fused operations");
  op.magnitudes = {"x", "d_y"};
  op.own_magnitudes["d_rois"] = [=](const Case& c) { return slope_magnitudes(c, narrow); };
  op.traffic = [](const std::string& pass) -> std::vector<std::string> {
    if (pass == "backward") return {"rois", "d_y", "d_x"};
    if (pass == "backward_rois") return {"x", "rois", "d_y", "d_rois"};
    return {"x", "rois", "y"};
  };
  op.bench = roi_bench;
}

}  // namespace

void add_roi_pooling(Operations& list) {
  Operation pool =
      describe("roi_pool", "pooling", "maximum over the bins of each RoI (Fast R-CNN)",
               "kernels/pooling/roi_pool.h", {"roi_pool_forward", "roi_pool_backward"});
  pool.inputs = roi_inputs();
  pool.outputs = {
      with_gradient(array_doc("y", Type::f32, "(R, C, pooled_h, pooled_w)", "maxima of the bins")),
      array_doc("argmax", Type::i32, "(R, C, pooled_h, pooled_w)",
                "h W + w of each maximum, -1 in an empty bin")};
  pool.params = pooled_parameters();
  pool.ladders = {
      ladder("kRoiPoolVersions", kRoiPoolVersions, "table"),
      ladder("kRoiPoolBackwardVersions", kRoiPoolBackwardVersions, "pipelined", "backward")};
  pool.prepare = on_all_devices<RoiPool, float, double>();
  pool.random_case = [](Random& r) {
    Case c = random_rois(r);
    if (r.chance(0.2)) sprinkle_specials(r, c.arrays["x"]);
    return c;
  };
  pool.traffic = [](const std::string& pass) -> std::vector<std::string> {
    if (pass == "backward") return {"rois", "d_y", "argmax", "d_x"};
    return {"x", "rois", "y", "argmax"};
  };
  pool.bench = roi_bench;
  list.push_back(pool);

  Operation align = describe(
      "roi_align", "pooling", "bilinear samples of the bins of each RoI, averaged (Mask R-CNN)",
      "kernels/pooling/roi_align.h",
      {"roi_align_forward", "roi_align_backward", "roi_align_backward_rois"});
  align.params = pooled_parameters();
  align.params.push_back(
      integer("sampling_ratio", 2, "samples per bin and axis; 0: as many as the bin has cells"));
  align.params.push_back(flag("aligned", false, "shifted by half a cell, no least size"));
  align.ladders = {
      ladder("kRoiAlignVersions", kRoiAlignVersions, "table"),
      ladder("kRoiAlignBackwardVersions", kRoiAlignBackwardVersions, "pipelined", "backward"),
      ladder("kRoiAlignSlopesVersions", kRoiAlignSlopesVersions, "table", "backward_rois")};
  align.prepare = on_all_devices<RoiLayer<AlignKernels>, float, double>();
  align.random_case = [](Random& r) {
    Case c = random_rois(r);
    c.params["sampling_ratio"] = r.between(0, 3);
    c.params["aligned"] = r.chance(0.5);
    return c;
  };
  finish_layer(align, false);
  list.push_back(align);

  Operation precise =
      describe("precise_roi", "pooling",
               "the interpolated map averaged over the bins of each RoI, exactly (IoU-Net)",
               "kernels/pooling/precise_roi.h",
               {"precise_roi_forward", "precise_roi_backward", "precise_roi_backward_rois"});
  precise.params = pooled_parameters();
  precise.ladders = {
      ladder("kPreciseRoiVersions", kPreciseRoiVersions, "table"),
      ladder("kPreciseRoiBackwardVersions", kPreciseRoiBackwardVersions, "pipelined", "backward"),
      ladder("kPreciseRoiSlopesVersions", kPreciseRoiSlopesVersions, "table", "backward_rois")};
  precise.prepare = on_all_devices<RoiLayer<PreciseKernels>, float, double>();
  precise.random_case = [](Random& r) { return random_rois(r); };
  finish_layer(precise, true);
  list.push_back(precise);
}

}  // namespace frcnn::apps::ops
