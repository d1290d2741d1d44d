// Broadcasting over maps, and copies of their parts.
#include "apps/ops/definitions.h"
#include "kernels/elementwise/broadcast.h"
#include "kernels/elementwise/copy_map.h"

namespace frcnn::apps::ops {
namespace {

using namespace kernels;

struct Subtract {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n");
    const T *a = d.input<T>("a"), *b = d.input<T>("b");
    T* y = d.output<T>("y", {count});
    const auto version = d.version<ElementwiseVersion>();
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::subtract(count, a, b, y);
      else
        gpu::subtract<Where::backend>(nullptr, count, a, b, y, version);
    });
  }
};

struct Broadcast {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const MapLayout map = d.map("a");
    const auto op = enum_of<BinaryOp>(d, "op");
    const auto spread = enum_of<Spread>(d, "spread");
    check(d.letter("B") == spread_size(map, spread),
          "[broadcast] b: expected {} numbers for spread {}, found {}", spread_size(map, spread),
          d.text("spread"), d.letter("B"));
    const T *a = d.input_map<T>("a", map), *b = d.input<T>("b");
    T* y = d.output_map<T>("y", map);
    const auto version = d.version<BroadcastVersion>();
    const auto forward = [=](BinaryOp operation, const T* from, T* to) {
      if constexpr (Where::cpu)
        cpu::broadcast_forward(map, operation, spread, from, b, to);
      else
        gpu::broadcast_forward<Where::backend>(nullptr, map, operation, spread, from, b, to,
                                               version);
    };
    d.pass("forward", [=] { forward(op, a, y); });
    const T* dy = d.gradient<T>("y");
    if (dy == nullptr) return;
    T *da = d.output_map<T>("d_a", map), *db = d.output<T>("d_b", d.extent("b"));
    auto* const workspace = static_cast<double*>(
        d.scratch(static_cast<size_t>(broadcast_workspace(map)) * sizeof(double)));
    // The gradient of a: dy times b, or dy itself, which is dy minus 0 b.
    const T* zero = d.constant(std::vector<T>(static_cast<size_t>(d.letter("B")), T(0)));
    d.pass("backward_a", [=] {
      if (op == BinaryOp::multiply) return forward(op, dy, da);
      if constexpr (Where::cpu)
        cpu::broadcast_forward(map, BinaryOp::subtract, spread, dy, zero, da);
      else
        gpu::broadcast_forward<Where::backend>(nullptr, map, BinaryOp::subtract, spread, dy, zero,
                                               da, version);
    });
    d.pass("backward_b", [=] {
      if constexpr (Where::cpu)
        cpu::broadcast_backward(map, op, spread, dy, a, db, workspace);
      else
        gpu::broadcast_backward<Where::backend>(nullptr, map, op, spread, dy, a, db, workspace,
                                                version);
    });
  }
};

struct CopyChannels {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const MapLayout from = d.map("x");
    MapLayout to = d.map("y");
    to.block = d.block(to.c, "out_layout");
    const ChannelRun run{d.integer("from"), d.integer("to"), d.integer("count")};
    check(run.from >= 0 && run.to >= 0 && run.count >= 0 && run.from + run.count <= from.c &&
              run.to + run.count <= to.c,
          "[copy_channels] {} channels from {} on of {} do not fit from {} on of {}", run.count,
          run.from, from.c, run.to, to.c);
    const T* x = d.input_map<T>("x", from);
    T* y = d.updated_map<T>("y_new", "y", to);
    const auto version = d.version<CopyMapVersion>();
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::copy_channels(from, to, run, x, y);
      else
        gpu::copy_channels<Where::backend>(nullptr, from, to, run, x, y, version);
    });
  }
};

struct PadMap {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const MapLayout map = d.map("x");
    const MapPadding padding{d.integer("top"), d.integer("left"), d.integer("bottom"),
                             d.integer("right")};
    check(padding.top >= 0 && padding.left >= 0 && padding.bottom >= 0 && padding.right >= 0,
          "[pad_map] the padding must not be negative");
    const double value = d.number("value");
    const MapLayout out = padding.padded(map);
    const T* x = d.input_map<T>("x", map);
    T* y = d.output_map<T>("y", out);
    const auto version = d.version<CopyMapVersion>();
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::pad_map(map, padding, value, x, y);
      else
        gpu::pad_map<Where::backend>(nullptr, map, padding, value, x, y, version);
    });
    const T* dy = d.gradient<T>("y");
    if (dy == nullptr) return;
    T* dx = d.output_map<T>("d_x", map);
    d.pass("backward", [=] {
      if constexpr (Where::cpu)
        cpu::crop_map(map, padding, dy, dx);
      else
        gpu::crop_map<Where::backend>(nullptr, map, padding, dy, dx, version);
    });
  }
};

Case broadcast_case(Random& r, const Extent& e, const std::string& spread) {
  Case c;
  const int64_t count = spread == "whole" ? 1 : spread == "channel" ? e[1] : e[0] * e[1];
  c.arrays["a"] = r.floats(e, -2, 2);
  c.arrays["b"] = r.floats({count}, -2, 2);
  c.arrays["d_y"] = r.floats(e, -1, 1);
  c.params["spread"] = spread;
  return c;
}

void add_broadcast(Operations& list) {
  Operation subtract =
      describe("subtract", "elementwise", "a - b", "kernels/elementwise/broadcast.h", {"subtract"});
  for (const char* name : {"a", "b"})
    subtract.inputs.push_back(array_doc(name, Type::f32, "(n)", "any layout, flat"));
  subtract.outputs = {array_doc("y", Type::f32, "(n)", "a - b")};
  subtract.ladders = {ladder("kElementwiseVersions", kElementwiseVersions, "vector")};
  subtract.prepare = on_all_devices<Subtract, float, double>();
  const auto pair = [](Random& r, int64_t count) {
    Case c;
    for (const char* name : {"a", "b"}) c.arrays[name] = r.coarse({count}, -2, 2);
    return c;
  };
  subtract.random_case = [=](Random& r) { return pair(r, r.size(3000, true)); };
  subtract.bench = [=](const std::string& shapes) {
    const int64_t count = shapes == "small" ? 10000 : int64_t{64} * 600 * 1000;
    return std::vector<BenchCase>{{fmt::format("{} numbers", count), [=] {
                                     Random random(1);
                                     return pair(random, count);
                                   }}};
  };
  list.push_back(subtract);

  Operation op =
      describe("broadcast", "elementwise", "a + b, a - b or a b, b spread over the map a",
               "kernels/elementwise/broadcast.h", {"broadcast_forward", "broadcast_backward"});
  op.inputs = {array_doc("a", Type::f32, "(N, C, H, W)", "map"),
               array_doc("b", Type::f32, "(B)", "1, C or N C numbers, as `spread` says")};
  op.outputs = {with_gradient(array_doc("y", Type::f32, "(N, C, H, W)", "a op b"))};
  op.params = {
      word("op", "add", "what is done", {"add", "subtract", "multiply"}),
      word("spread", "channel", "what b has one number for", {"whole", "channel", "plane"}),
      layout_parameter()};
  op.ladders = {ladder("kBroadcastVersions", kBroadcastVersions, "vector")};
  op.prepare = on_all_devices<Broadcast, float, double>();
  op.tolerance = [](const std::string&, const std::string& type) {
    if (type == "f64") return within(512 * 0x1.0p-53, 0, "double sums in another order");
    return within(2 * 0x1.0p-24, 0, "double sums in another order, then rounded to float");
  };
  op.magnitudes = {"a", "d_y"};
  op.random_case = [](Random& r) {
    const Extent e = {r.size(2, true), r.size(40), r.size(9), r.size(9)};
    Case c = broadcast_case(r, e, r.word({"whole", "channel", "plane"}));
    c.params["op"] = r.word({"add", "subtract", "multiply"});
    c.params["layout"] = r.word(layout_names());
    return c;
  };
  op.traffic = [](const std::string& pass) -> std::vector<std::string> {
    if (pass == "backward_a") return {"d_y", "b", "d_a"};
    if (pass == "backward_b") return {"d_y", "a", "d_b"};
    return {"a", "b", "y"};
  };
  op.bench = [](const std::string& shapes) {
    const int64_t c = shapes == "small" ? 16 : 512;
    return std::vector<BenchCase>{{fmt::format("multiply channels {}x75x125", c), [=] {
                                     Random r(1);
                                     Case made = broadcast_case(r, {1, c, 75, 125}, "channel");
                                     made.params["op"] = std::string("multiply");
                                     made.params["layout"] = std::string("nhwc");
                                     return made;
                                   }}};
  };
  list.push_back(op);
}

void add_copies(Operations& list) {
  Operation copy = describe("copy_channels", "elementwise",
                            "a run of channels from one map to another: concatenation",
                            "kernels/elementwise/copy_map.h", {"copy_channels"});
  copy.inputs = {array_doc("x", Type::f32, "(N, C, H, W)", "map"),
                 array_doc("y", Type::f32, "(N, D, H, W)", "map that it is copied into")};
  copy.outputs = {array_doc("y_new", Type::f32, "(N, D, H, W)", "y with the run of x")};
  copy.params = {integer("from", 0, "first channel of x"), integer("to", 0, "first channel of y"),
                 integer("count", 1, "channels"), layout_parameter(),
                 word("out_layout", "same", "of y in device memory",
                      {"same", "nchw", "nhwc", "blocked8", "blocked16"})};
  copy.ladders = {ladder("kCopyMapVersions", kCopyMapVersions, "vector")};
  copy.prepare = on_all_devices<CopyChannels, float, double>();
  const auto make = [](Random& r, const Extent& x, int64_t channels, int64_t to) {
    Case c;
    c.arrays["x"] = r.floats(x, -1, 1);
    c.arrays["y"] = r.floats({x[0], channels, x[2], x[3]}, -1, 1);
    c.params = {{"to", to}, {"count", x[1]}};
    return c;
  };
  copy.random_case = [=](Random& r) {
    const Extent x = {r.size(2, true), r.size(20), r.size(9), r.size(9)};
    const int64_t before = r.pick<int64_t>({0, 4, 8, 16, 5});
    Case c = make(r, x, before + x[1] + r.pick<int64_t>({0, 0, 3, 8}), before);
    c.params["layout"] = r.word(layout_names());
    if (r.chance(0.3)) c.params["out_layout"] = r.word(layout_names());
    return c;
  };
  copy.traffic = [](const std::string&) -> std::vector<std::string> { return {"x", "x"}; };
  copy.bench = [=](const std::string& shapes) {
    const int64_t c = shapes == "small" ? 16 : 256;
    return std::vector<BenchCase>{{fmt::format("{}x75x125 to {} channels", c, 2 * c), [=] {
                                     Random r(1);
                                     Case made = make(r, {1, c, 75, 125}, 2 * c, c);
                                     made.params["layout"] = std::string("nhwc");
                                     return made;
                                   }}};
  };
  list.push_back(copy);

  Operation pad = describe("pad_map", "elementwise", "a map with rows and columns around it",
                           "kernels/elementwise/copy_map.h", {"pad_map", "crop_map"});
  pad.inputs = {array_doc("x", Type::f32, "(N, C, H, W)", "map")};
  pad.outputs = {
      with_gradient(array_doc("y", Type::f32, "(N, C, padded_h, padded_w)", "padded map"))};
  pad.params = {integer("top", 0, "rows above"),      integer("left", 0, "columns left"),
                integer("bottom", 0, "rows below"),   integer("right", 0, "columns right"),
                number("value", 0, "what they hold"), layout_parameter()};
  pad.ladders = {ladder("kCopyMapVersions", kCopyMapVersions, "vector")};
  pad.prepare = on_all_devices<PadMap, float, double>();
  const auto padded = [](Random& r, const Extent& e, const MapPadding& p) {
    Case c;
    c.arrays["x"] = r.floats(e, -1, 1);
    c.arrays["d_y"] =
        r.floats({e[0], e[1], e[2] + p.top + p.bottom, e[3] + p.left + p.right}, -1, 1);
    c.params = {{"top", p.top}, {"left", p.left}, {"bottom", p.bottom}, {"right", p.right}};
    return c;
  };
  pad.random_case = [=](Random& r) {
    Case c = padded(r, {r.size(2, true), r.size(20), r.size(9), r.size(9)},
                    {r.below(4), r.below(4), r.below(4), r.below(4)});
    c.params["value"] = r.uniform(-2, 2);
    c.params["layout"] = r.word(layout_names());
    return c;
  };
  pad.traffic = [](const std::string& pass) -> std::vector<std::string> {
    if (pass == "backward") return {"d_x", "d_x"};
    return {"x", "y"};
  };
  pad.bench = [=](const std::string& shapes) {
    const int64_t c = shapes == "small" ? 16 : 256;
    return std::vector<BenchCase>{{fmt::format("{}x75x125 by 1", c), [=] {
                                     Random r(1);
                                     Case made = padded(r, {1, c, 75, 125}, {1, 1, 1, 1});
                                     made.params["layout"] = std::string("nhwc");
                                     return made;
                                   }}};
  };
  list.push_back(pad);
}

}  // namespace

void add_broadcasting(Operations& list) {
  add_broadcast(list);
  add_copies(list);
}

}  // namespace frcnn::apps::ops
