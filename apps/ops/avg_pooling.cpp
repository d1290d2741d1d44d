#include "apps/ops/definitions.h"
#include "kernels/pooling/avg_pool.h"

namespace frcnn::apps::ops {
namespace {

using namespace kernels;

struct AvgPool {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const MapLayout map = d.map("x");
    AvgPoolParams p;
    p.kernel_h = d.integer("kernel_h"), p.kernel_w = d.integer("kernel_w");
    p.stride_h = d.integer("stride_h"), p.stride_w = d.integer("stride_w");
    p.pad_h = d.integer("pad_h"), p.pad_w = d.integer("pad_w");
    p.ceil_mode = d.flag("ceil_mode"), p.count_include_pad = d.flag("count_include_pad");
    const MapLayout out = avg_pool_layout(map, p);
    const T* x = d.input_map<T>("x", map);
    T* y = d.output_map<T>("y", out);
    const auto version = d.version<AvgPoolVersion>();
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::avg_pool_forward(map, p, x, y);
      else
        gpu::avg_pool_forward<Where::backend>(nullptr, map, p, x, y, version);
    });
    const T* dy = d.gradient<T>("y");
    if (dy == nullptr) return;
    T* dx = d.output_map<T>("d_x", map);
    d.pass("backward", [=] {
      if constexpr (Where::cpu)
        cpu::avg_pool_backward(map, p, dy, dx);
      else
        gpu::avg_pool_backward<Where::backend>(nullptr, map, p, dy, dx, version);
    });
  }
};

struct GlobalAvgPool {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const MapLayout map = d.map("x"), out = map.resized(1, 1);
    const T* x = d.input_map<T>("x", map);
    T* y = d.output_map<T>("y", out);
    const auto version = d.version<GlobalAvgPoolVersion>();
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::global_avg_pool_forward(map, x, y);
      else
        gpu::global_avg_pool_forward<Where::backend>(nullptr, map, x, y, version);
    });
    const T* dy = d.gradient<T>("y");
    if (dy == nullptr) return;
    T* dx = d.output_map<T>("d_x", map);
    const auto backward = d.version<AvgPoolVersion>(1);
    d.pass(
        "backward",
        [=] {
          if constexpr (Where::cpu)
            cpu::global_avg_pool_backward(map, dy, dx);
          else
            gpu::global_avg_pool_backward<Where::backend>(nullptr, map, dy, dx, backward);
        },
        1);
  }
};

Operation avg_pool() {
  Operation op = describe("avg_pool", "pooling", "means of windows", "kernels/pooling/avg_pool.h",
                          {"avg_pool_forward", "avg_pool_backward"});
  op.inputs = {array_doc("x", Type::f32, "(N, C, H, W)", "map")};
  op.outputs = {with_gradient(array_doc("y", Type::f32, "(N, C, out_h, out_w)", "means"))};
  op.params = {integer("kernel_h", 2, "window"),
               integer("kernel_w", 2, "window"),
               integer("stride_h", 2, "between windows"),
               integer("stride_w", 2, "between windows"),
               integer("pad_h", 0, "zero rows around the map"),
               integer("pad_w", 0, "zero columns around the map"),
               flag("ceil_mode", false, "a last window that is partly inside counts"),
               flag("count_include_pad", false, "divide by the cells of the padded map"),
               layout_parameter()};
  op.ladders = {ladder("kAvgPoolVersions", kAvgPoolVersions, "vector")};
  op.prepare = on_all_devices<AvgPool, float, double>();
  op.random_case = [](Random& r) {
    Case c;
    const Extent e = {r.size(2, true), r.size(20), r.between(4, 14), r.between(4, 14)};
    c.arrays["x"] = r.floats(e, -2, 2);
    if (r.chance(0.3)) sprinkle_specials(r, c.arrays["x"]);
    AvgPoolParams p;
    p.kernel_h = r.between(1, 4), p.kernel_w = r.between(1, 4);
    p.stride_h = r.between(1, 3), p.stride_w = r.between(1, 3);
    p.pad_h = r.below(p.kernel_h), p.pad_w = r.below(p.kernel_w);
    p.ceil_mode = r.chance(0.5), p.count_include_pad = r.chance(0.5);
    c.params = {{"kernel_h", p.kernel_h},   {"kernel_w", p.kernel_w},
                {"stride_h", p.stride_h},   {"stride_w", p.stride_w},
                {"pad_h", p.pad_h},         {"pad_w", p.pad_w},
                {"ceil_mode", p.ceil_mode}, {"count_include_pad", p.count_include_pad}};
    c.params["layout"] = r.word(layout_names());
    const MapLayout out = avg_pool_layout({e[0], e[1], e[2], e[3], 1}, p);
    c.arrays["d_y"] = r.floats({out.n, out.c, out.h, out.w}, -1, 1);
    return c;
  };
  op.bench = [](const std::string& shapes) {
    const int64_t c = shapes == "small" ? 16 : 256, side = shapes == "small" ? 20 : 100;
    return std::vector<BenchCase>{
        {fmt::format("3x3 stride 1 {}x{}x{}", c, side, side), [=] {
           Random r(1);
           Case made;
           made.arrays["x"] = r.floats({1, c, side, side}, 0, 1);
           made.arrays["d_y"] = r.floats({1, c, side, side}, -1, 1);
           for (const char* name : {"kernel_h", "kernel_w"}) made.params[name] = int64_t{3};
           for (const char* name : {"stride_h", "stride_w", "pad_h", "pad_w"})
             made.params[name] = int64_t{1};
           made.params["layout"] = std::string("nhwc");
           return made;
         }}};
  };
  return op;
}

Operation global_avg_pool() {
  Operation op =
      describe("global_avg_pool", "pooling", "mean of each channel", "kernels/pooling/avg_pool.h",
               {"global_avg_pool_forward", "global_avg_pool_backward"});
  op.inputs = {array_doc("x", Type::f32, "(N, C, H, W)", "map")};
  op.outputs = {with_gradient(array_doc("y", Type::f32, "(N, C, 1, 1)", "means"))};
  op.params = {layout_parameter()};
  op.ladders = {ladder("kGlobalAvgPoolVersions", kGlobalAvgPoolVersions, "block", "forward"),
                ladder("kAvgPoolVersions", kAvgPoolVersions, "vector", "backward")};
  op.prepare = on_all_devices<GlobalAvgPool, float, double>();
  op.tolerance = [](const std::string&, const std::string& type) {
    if (type == "f64") return within(256 * 0x1.0p-53, 0, "double sums in another order");
    return within(2 * 0x1.0p-24, 0, "double sums in another order, then rounded to float");
  };
  op.magnitudes = {"x"};
  const auto make = [](Random& r, const Extent& e, const std::string& layout) {
    Case c;
    c.arrays["x"] = r.floats(e, -1, 1);
    c.arrays["d_y"] = r.floats({e[0], e[1], 1, 1}, -1, 1);
    c.params["layout"] = layout;
    return c;
  };
  op.random_case = [=](Random& r) {
    return make(r, {r.size(2, true), r.size(40), r.between(1, 14), r.between(1, 14)},
                r.word(layout_names()));
  };
  op.bench = [=](const std::string& shapes) {
    const Extent e = shapes == "small" ? Extent{1, 64, 7, 7} : Extent{1, 2048, 19, 32};
    return std::vector<BenchCase>{{fmt::format("{}x{}x{}", e[1], e[2], e[3]), [=] {
                                     Random r(1);
                                     return make(r, e, "nhwc");
                                   }}};
  };
  return op;
}

}  // namespace

void add_avg_pooling(Operations& list) {
  list.push_back(avg_pool());
  list.push_back(global_avg_pool());
}

}  // namespace frcnn::apps::ops
