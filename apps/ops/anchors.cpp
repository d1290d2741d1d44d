#include "kernels/boxes/anchors.h"

#include "apps/ops/definitions.h"

namespace frcnn::apps::ops {
namespace {

using namespace kernels;
constexpr const char* kHeader = "kernels/boxes/anchors.h";

struct GridAnchors {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    AnchorParams p;
    p.sizes = d.list("sizes");
    p.ratios = d.list("ratios");
    p.rounding = enum_of<AnchorRounding>(d, "rounding");
    p.centre = enum_of<AnchorCentre>(d, "centre");
    p.base = d.number("base");
    p.combine = enum_of<AnchorCombine>(d, "combine");
    const int64_t h = d.integer("map_h"), w = d.integer("map_w");
    check(h >= 0 && w >= 0, "[grid_anchors] a map cannot be {} x {}", h, w);
    const double stride_y = d.number("stride_y"), stride_x = d.number("stride_x");
    T* anchors = d.output<T>("anchors", {h * w * p.per_cell(), 4});
    const auto version = d.version<AnchorVersion>();
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::grid_anchors(p, h, w, stride_y, stride_x, anchors);
      else
        gpu::grid_anchors<Where::backend>(nullptr, p, h, w, stride_y, stride_x, anchors, version);
    });
  }
};

struct BoxesInside {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n");
    const double height = d.number("height"), width = d.number("width");
    const T* boxes = d.input<T>("boxes");
    auto* inside = d.output<uint8_t>("inside", {count});
    if constexpr (Where::cpu) {
      d.pass("forward", [=] { cpu::boxes_inside(count, height, width, boxes, inside); });
    } else {
      ImageLimits<T> image;
      image.height = static_cast<T>(height), image.width = static_cast<T>(width);
      const auto* limits = d.constant(std::vector<ImageLimits<T>>{image});
      d.pass("forward",
             [=] { gpu::boxes_inside<Where::backend>(nullptr, 1, count, limits, boxes, inside); });
    }
  }
};

}  // namespace

void add_anchors(Operations& list) {
  Operation grid = describe("grid_anchors", "boxes", "the anchors of all cells of a map", kHeader,
                            {"grid_anchors"});
  grid.outputs = {
      array_doc("anchors", Type::f32, "(map_h*map_w*A, 4)",
                "x1, y1, x2, y2 in the order (H, W, A), A = ratios x sizes, or their sum - 1")};
  grid.params = {integer("map_h", 1, "rows of cells"),
                 integer("map_w", 1, "columns of cells"),
                 number("stride_y", 16, "pixels per row"),
                 number("stride_x", 16, "pixels per column"),
                 numbers("sizes", {128, 256, 512}, "square roots of the areas, pixels"),
                 numbers("ratios", {0.5, 1, 2}, "height / width"),
                 word("rounding", "paper", "of the sides", {"paper", "torchvision", "none"}),
                 word("centre", "cell", "of the anchors of a cell", {"cell", "corner"}),
                 number("base", 16, "side of the box whose rounded shapes are scaled"),
                 word("combine", "all", "sizes with ratios", {"all", "first"})};
  grid.ladders = {ladder("kAnchorVersions", kAnchorVersions, "box")};
  grid.prepare = on_all_devices<GridAnchors, float, double>();
  grid.random_case = [](Random& r) {
    Case c;
    c.params = {{"map_h", r.size(9, true)},
                {"map_w", r.size(9, true)},
                {"stride_y", r.pick<double>({16, 8, 32, 16.25})},
                {"stride_x", r.pick<double>({16, 8, 32, 15.9})},
                {"rounding", r.word({"paper", "torchvision", "none"})},
                {"centre", r.word({"cell", "corner"})},
                {"combine", r.word({"all", "first"})}};
    if (r.chance(0.5)) c.params["sizes"] = std::vector<double>{r.uniform(10, 100), 64};
    if (r.chance(0.5)) c.params["ratios"] = std::vector<double>{r.uniform(0.2, 4)};
    return c;
  };
  grid.bench = [](const std::string& shapes) {
    const bool small = shapes == "small";
    const int64_t h = small ? 10 : 37, w = small ? 10 : 62;
    return std::vector<BenchCase>{{fmt::format("{}x{} cells", h, w), [=] {
                                     Case c;
                                     c.params = {{"map_h", h}, {"map_w", w}};
                                     return c;
                                   }}};
  };
  list.push_back(grid);

  Operation inside = describe("boxes_inside", "boxes", "which boxes lie inside the image", kHeader,
                              {"boxes_inside"});
  inside.inputs = {array_doc("boxes", Type::f32, "(n, 4)", "x1, y1, x2, y2")};
  inside.outputs = {array_doc("inside", Type::u8, "(n)", "1 or 0")};
  inside.params = {number("height", 600, "of the image, pixels"),
                   number("width", 1000, "of the image, pixels")};
  inside.prepare = on_all_devices<BoxesInside, float, double>();
  inside.random_case = [](Random& r) {
    Case c;
    c.arrays["boxes"] = r.boxes(r.size(600, true), 60, 100);
    if (r.chance(0.3)) sprinkle_specials(r, c.arrays["boxes"]);
    c.params = {{"height", r.uniform(20, 60)}, {"width", r.uniform(30, 100)}};
    return c;
  };
  inside.bench = [](const std::string& shapes) {
    const int64_t count = shapes == "small" ? 1000 : 20646;
    return std::vector<BenchCase>{{fmt::format("{} boxes", count), [=] {
                                     Random r(1);
                                     Case c;
                                     c.arrays["boxes"] = r.scattered_boxes(count, 600, 1000);
                                     return c;
                                   }}};
  };
  list.push_back(inside);
}

}  // namespace frcnn::apps::ops
