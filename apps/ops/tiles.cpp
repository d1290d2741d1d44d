#include "apps/ops/definitions.h"
#include "kernels/elementwise/map_tiles.h"

namespace frcnn::apps::ops {
namespace {

using namespace kernels;
constexpr const char* kHeader = "kernels/elementwise/map_tiles.h";

struct MapTiles {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const MapLayout map = d.map("x");
    const auto window = static_cast<int>(d.integer("window"));
    check(window > 0 && window % 2 == 1, "[map_tiles] window must be odd, found {}", window);
    const int64_t tiles = d.letter("R"), places = map.n * map.h * map.w;
    std::vector<int32_t> tile_of(static_cast<size_t>(places), -1);
    int32_t tile = 0;
    for (const int32_t cell : d.array("cells").as<int32_t>()) {
      check(cell < places, "[map_tiles] cells: there is no cell {} of {}", cell, places);
      if (cell >= 0) {
        int32_t& place = tile_of[static_cast<size_t>(cell)];
        check(place < 0, "[map_tiles] cells: cell {} is there twice", cell);
        place = tile;
      }
      ++tile;
    }
    const T* x = d.input_map<T>("x", map);
    const auto* cells = d.input<int32_t>("cells");
    T* y = d.output_map<T>("y", tiles_layout(map, window, tiles));
    const auto version = d.version<MapTilesVersion>();
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::gather_tiles(map, window, tiles, cells, x, y);
      else
        gpu::gather_tiles<Where::backend>(nullptr, map, window, tiles, cells, x, y, version);
    });
    const T* dy = d.gradient<T>("y");
    if (dy == nullptr) return;
    const auto* inverse = d.constant(tile_of);
    T* dx = d.output_map<T>("d_x", map);
    d.pass("backward", [=] {
      if constexpr (Where::cpu)
        cpu::scatter_tiles(map, window, inverse, dy, dx);
      else
        gpu::scatter_tiles<Where::backend>(nullptr, map, window, inverse, dy, dx, version);
    });
  }
};

struct SampledCells {
  template <typename Where, typename>
  static void prepare(Desk& d) {
    const int64_t images = d.letter("N"), count = d.letter("n"), anchors = d.letter("a");
    const int64_t capacity = d.integer("capacity");
    check(capacity >= 0, "[sampled_cells] capacity must not be negative, found {}", capacity);
    const auto* labels = d.input<int32_t>("labels");
    auto* cells = d.output<int32_t>("cells", {images, capacity});
    auto* places = d.output<int32_t>("places", {images, count});
    d.pass("forward", [=] {
      if constexpr (Where::cpu) {
        std::fill(cells, cells + images * capacity, -1);
        std::fill(places, places + images * count, -1);
        for (int64_t n = 0; n < images; ++n)
          for (int64_t cell = n * count, tile = n * capacity; cell < (n + 1) * count; ++cell) {
            const int32_t* first = labels + cell * anchors;
            if (tile == (n + 1) * capacity ||
                std::none_of(first, first + anchors, [](int32_t label) { return label >= 0; }))
              continue;
            places[cell] = static_cast<int32_t>(tile);
            cells[tile++] = static_cast<int32_t>(cell);
          }
      } else {
        gpu::sampled_cells<Where::backend>(nullptr, images, count, anchors, capacity, labels, cells,
                                           places);
      }
    });
  }
};

/// Some cells of a map in random order, none twice, unused tiles between them.
Array some_cells(Random& r, int64_t cells, int64_t tiles) {
  std::vector<int32_t> all, list;
  for (int64_t i = 0; i < cells; ++i) all.push_back(static_cast<int32_t>(i));
  while (static_cast<int64_t>(list.size()) < tiles) {
    if (all.empty() || r.chance(0.2)) {
      list.push_back(-1);
      continue;
    }
    const auto at = static_cast<size_t>(r.below(static_cast<int64_t>(all.size())));
    list.push_back(all[at]);
    all[at] = all.back();
    all.pop_back();
  }
  return Array::of({tiles}, list);
}

Case tiles_of(Random& r, const Extent& map, int64_t tiles, int64_t window) {
  Case c;
  c.arrays["x"] = r.floats(map, -1, 1);
  c.arrays["cells"] = some_cells(r, map[0] * map[2] * map[3], tiles);
  c.arrays["d_y"] = r.floats({tiles, map[1], window, window}, -1, 1);
  c.params["window"] = window;
  return c;
}

Operation map_tiles() {
  Operation op = describe("map_tiles", "elementwise", "windows of a map around some of its cells",
                          kHeader, {"gather_tiles", "scatter_tiles"});
  op.inputs = {array_doc("x", Type::f32, "(N, C, H, W)", "map"),
               array_doc("cells", Type::i32, "(R)", "(n H + h) W + w, none twice; -1: unused")};
  op.outputs = {with_gradient(
      array_doc("y", Type::f32, "(R, C, window, window)", "windows, 0 outside of the map"))};
  op.params = {integer("window", 3, "side of the windows, odd"), layout_parameter()};
  op.ladders = {ladder("kMapTilesVersions", kMapTilesVersions, "vector")};
  op.prepare = on_all_devices<MapTiles, float, double>();
  op.random_case = [](Random& r) {
    Case c = tiles_of(r, {r.size(2), r.size(20), r.size(9), r.size(9)}, r.size(40, true),
                      r.pick<int64_t>({1, 3, 5}));
    c.params["layout"] = r.word(layout_names());
    return c;
  };
  op.bench = [](const std::string& shapes) {
    const int64_t channels = shapes == "small" ? 16 : 512;
    return std::vector<BenchCase>{{fmt::format("256 of {}x38x63", channels), [=] {
                                     Random r(1);
                                     Case c = tiles_of(r, {1, channels, 38, 63}, 256, 3);
                                     c.params["layout"] = std::string("nhwc");
                                     return c;
                                   }}};
  };
  return op;
}

Operation sampled_cells() {
  Operation op = describe("sampled_cells", "elementwise", "the cells that hold a sampled anchor",
                          kHeader, {"sampled_cells"});
  op.types = {};
  op.inputs = {array_doc("labels", Type::i32, "(N, n, a)", "of a anchors per cell; -1: none")};
  op.outputs = {array_doc("cells", Type::i32, "(N, capacity)", "in ascending order; -1 behind"),
                array_doc("places", Type::i32, "(N, n)", "row of each cell in `cells`, or -1")};
  op.params = {integer("capacity", 256, "most cells of an image")};
  op.prepare = [](Desk& d) {
    on_device(d.device(), [&](auto where) { SampledCells::prepare<decltype(where), float>(d); });
  };
  op.random_case = [](Random& r) {
    Case c;
    c.arrays["labels"] = r.integers({r.size(3), r.size(1500), r.size(9)}, -r.between(1, 30), 1);
    c.params["capacity"] = r.size(300, true);
    return c;
  };
  return op;
}

}  // namespace

void add_tiles(Operations& list) {
  list.push_back(map_tiles());
  list.push_back(sampled_cells());
}

}  // namespace frcnn::apps::ops
