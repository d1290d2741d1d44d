#include "apps/ops/definitions.h"
#include "kernels/pooling/adaptive_max_pool.h"
#include "kernels/pooling/max_pool.h"

namespace frcnn::apps::ops {
namespace {

using namespace kernels;

struct MaxPool {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const MapLayout map = d.map("x");
    MaxPoolParams p;
    p.kernel_h = d.integer("kernel_h"), p.kernel_w = d.integer("kernel_w");
    p.stride_h = d.integer("stride_h"), p.stride_w = d.integer("stride_w");
    p.pad_h = d.integer("pad_h"), p.pad_w = d.integer("pad_w");
    p.ceil_mode = d.flag("ceil_mode");
    const MapLayout out = max_pool_layout(map, p);
    const T* x = d.input_map<T>("x", map);
    T* y = d.output_map<T>("y", out);
    auto* window = d.output_map<uint8_t>("window", out);
    const auto version = d.version<MaxPoolVersion>();
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::max_pool_forward(map, p, x, y, window);
      else
        gpu::max_pool_forward<Where::backend>(nullptr, map, p, x, y, window, version);
    });
    const T* dy = d.gradient<T>("y");
    if (dy == nullptr) return;
    T* dx = d.output_map<T>("d_x", map);
    d.pass("backward", [=] {
      if constexpr (Where::cpu)
        cpu::max_pool_backward(map, p, dy, window, dx);
      else
        gpu::max_pool_backward<Where::backend>(nullptr, map, p, dy, window, dx, version);
    });
  }
};

struct AdaptiveMaxPool {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const MapLayout map = d.map("x");
    const int64_t out_h = d.integer("out_h"), out_w = d.integer("out_w");
    const MapLayout out = map.resized(out_h, out_w);
    const T* x = d.input_map<T>("x", map);
    T* y = d.output_map<T>("y", out);
    auto* argmax = d.output_map<int32_t>("argmax", out);
    const auto version = d.version<AdaptiveMaxPoolVersion>();
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::adaptive_max_pool_forward(map, out_h, out_w, x, y, argmax);
      else
        gpu::adaptive_max_pool_forward<Where::backend>(nullptr, map, out_h, out_w, x, y, argmax,
                                                       version);
    });
    const T* dy = d.gradient<T>("y");
    if (dy == nullptr) return;
    T* dx = d.output_map<T>("d_x", map);
    d.pass("backward", [=] {
      if constexpr (Where::cpu)
        cpu::adaptive_max_pool_backward(map, out_h, out_w, dy, argmax, dx);
      else
        gpu::adaptive_max_pool_backward<Where::backend>(nullptr, map, out_h, out_w, dy, argmax, dx,
                                                        version);
    });
  }
};

/// One pooling of a map, for benchmarks.
BenchCase map_bench(const std::string& what, const Extent& extent, const Extent& out,
                    const Values& params) {
  return {fmt::format("{} {}x{}x{}", what, extent[1], extent[2], extent[3]), [=] {
            Random r(1);
            Case c;
            c.arrays["x"] = r.floats(extent, 0, 1);
            c.arrays["d_y"] = r.floats({extent[0], extent[1], out[0], out[1]}, -1, 1);
            c.params = params;
            c.params["layout"] = std::string("nhwc");
            return c;
          }};
}

Operation max_pool() {
  Operation op = describe("max_pool", "pooling", "maximum over windows, NaN included",
                          "kernels/pooling/max_pool.h", {"max_pool_forward", "max_pool_backward"});
  op.inputs = {array_doc("x", Type::f32, "(N, C, H, W)", "map")};
  op.outputs = {with_gradient(array_doc("y", Type::f32, "(N, C, out_h, out_w)", "maxima")),
                array_doc("window", Type::u8, "(N, C, out_h, out_w)",
                          "where in its window each maximum lies")};
  op.params = {integer("kernel_h", 2, "window"),
               integer("kernel_w", 2, "window"),
               integer("stride_h", 2, "between windows"),
               integer("stride_w", 2, "between windows"),
               integer("pad_h", 0, "rows of -infinity around the map"),
               integer("pad_w", 0, "columns of -infinity around the map"),
               flag("ceil_mode", false, "a last window that is partly inside counts"),
               layout_parameter()};
  op.ladders = {ladder("kMaxPoolVersions", kMaxPoolVersions, "halves")};
  op.prepare = on_all_devices<MaxPool, float, double>();
  op.random_case = [](Random& r) {
    Case c;
    const Extent e = {r.size(2, true), r.size(20), r.between(4, 14), r.between(4, 14)};
    c.arrays["x"] = r.coarse(e, -2, 2);
    if (r.chance(0.3)) sprinkle_specials(r, c.arrays["x"]);
    MaxPoolParams p;
    p.kernel_h = r.between(1, 4), p.kernel_w = r.between(1, 4);
    p.stride_h = r.between(1, 3), p.stride_w = r.between(1, 3);
    p.pad_h = r.between(0, p.kernel_h / 2), p.pad_w = r.between(0, p.kernel_w / 2);
    p.ceil_mode = r.chance(0.5);
    c.params = {{"kernel_h", p.kernel_h},  {"kernel_w", p.kernel_w}, {"stride_h", p.stride_h},
                {"stride_w", p.stride_w},  {"pad_h", p.pad_h},       {"pad_w", p.pad_w},
                {"ceil_mode", p.ceil_mode}};
    c.params["layout"] = r.word(layout_names());
    const MapLayout out = max_pool_layout({e[0], e[1], e[2], e[3], 1}, p);
    c.arrays["d_y"] = r.floats({out.n, out.c, out.h, out.w}, -1, 1);
    return c;
  };
  op.traffic = [](const std::string& pass) -> std::vector<std::string> {
    if (pass == "backward") return {"d_y", "window", "d_x"};
    return {"x", "y", "window"};
  };
  op.bench = [](const std::string& shapes) {
    if (shapes == "small")
      return std::vector<BenchCase>{map_bench("2x2", {1, 16, 40, 40}, {20, 20}, {})};
    return std::vector<BenchCase>{map_bench("pool1", {1, 64, 600, 1000}, {300, 500}, {}),
                                  map_bench("pool2", {1, 128, 300, 500}, {150, 250}, {}),
                                  map_bench("pool3", {1, 256, 150, 250}, {75, 125}, {}),
                                  map_bench("pool4", {1, 512, 75, 125}, {37, 62}, {})};
  };
  return op;
}

Operation adaptive_max_pool() {
  Operation op = describe("adaptive_max_pool", "pooling", "maximum over out_h x out_w bins",
                          "kernels/pooling/adaptive_max_pool.h",
                          {"adaptive_max_pool_forward", "adaptive_max_pool_backward"});
  op.inputs = {array_doc("x", Type::f32, "(N, C, H, W)", "map")};
  op.outputs = {with_gradient(array_doc("y", Type::f32, "(N, C, out_h, out_w)", "maxima")),
                array_doc("argmax", Type::i32, "(N, C, out_h, out_w)", "h W + w of each maximum")};
  op.params = {integer("out_h", 7, "bins in y"), integer("out_w", 7, "bins in x"),
               layout_parameter()};
  op.ladders = {ladder("kAdaptiveMaxPoolVersions", kAdaptiveMaxPoolVersions, "vector")};
  op.prepare = on_all_devices<AdaptiveMaxPool, float, double>();
  op.random_case = [](Random& r) {
    Case c;
    const Extent e = {r.size(2, true), r.size(20), r.between(1, 14), r.between(1, 14)};
    const int64_t out_h = r.between(1, 8), out_w = r.between(1, 8);
    c.arrays["x"] = r.coarse(e, -2, 2);
    if (r.chance(0.3)) sprinkle_specials(r, c.arrays["x"]);
    c.arrays["d_y"] = r.floats({e[0], e[1], out_h, out_w}, -1, 1);
    c.params = {{"out_h", out_h}, {"out_w", out_w}, {"layout", r.word(layout_names())}};
    return c;
  };
  op.traffic = [](const std::string& pass) -> std::vector<std::string> {
    if (pass == "backward") return {"d_y", "argmax", "d_x"};
    return {"x", "y", "argmax"};
  };
  op.bench = [](const std::string& shapes) {
    const Extent e = shapes == "small" ? Extent{1, 16, 20, 20} : Extent{1, 512, 37, 62};
    return std::vector<BenchCase>{map_bench("7x7 of", e, {7, 7}, {})};
  };
  return op;
}

}  // namespace

void add_max_pooling(Operations& list) {
  list.push_back(max_pool());
  list.push_back(adaptive_max_pool());
}

}  // namespace frcnn::apps::ops
