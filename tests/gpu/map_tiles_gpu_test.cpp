// Windows of a map on a GPU beside the CPU's kernels, and the list of cells that they are cut at.
#include <limits>

#include "kernels/elementwise/map_tiles.h"
#include "tests/gpu/map_gpu_support.h"

using namespace frcnn::kernels;
using namespace frcnn::test;

TEMPLATE_TEST_CASE("C5: GPU tiles of a map: the CPU's bits, forward and backward", "[tiles]", float,
                   double) {
  using T = TestType;
  struct Case {
    MapLayout map;
    int window;
    std::vector<int32_t> cells;
  };
  const Case cases[] = {
      {{2, 20, 7, 9, 1}, 3, {0, 8, 9, 10, 62, 63, 125, -1, 117, 30}},
      {{1, 16, 4, 6, 1}, 5, {23, 0, 7, 8, 9, 13, 14}},
      {{1, 3, 5, 5, 1}, 1, {24, 12, -1}},
      {{1, 5, 1, 1, 1}, 3, {0}},
      {{1, 4, 3, 3, 1}, 3, {}},
      {{1, 33, 20, 21, 1}, 3, {419, 0, 20, 21, 22, 43, 44, 64, 398, 399}},
  };
  for (const Case& c : cases)
    for (const MapLayout& map : layouts_of(c.map)) {
      const auto tiles = static_cast<int64_t>(c.cells.size());
      const MapLayout out = tiles_layout(map, c.window, tiles);
      const auto size = static_cast<size_t>(out.size());
      auto x = random_map<T>(map, -3, 3, 1);
      const auto dy = random_map<T>(out, -1, 1, 2);
      x[0] = std::numeric_limits<T>::quiet_NaN();
      std::vector<int32_t> places(static_cast<size_t>(map.n * map.h * map.w), -1);
      for (size_t t = 0; t < c.cells.size(); ++t)
        if (c.cells[t] >= 0) places[static_cast<size_t>(c.cells[t])] = static_cast<int32_t>(t);
      std::vector<T> y(size), dx(x.size());
      cpu::gather_tiles(map, c.window, tiles, c.cells.data(), x.data(), y.data());
      cpu::scatter_tiles(map, c.window, places.data(), dy.data(), dx.data());
      for_backends([&](auto on) {
        constexpr Backend B = decltype(on)::backend;
        const DeviceArray<B, T> gx(x), gdy(dy);
        const DeviceArray<B, int32_t> cells(c.cells), gplaces(places);
        for (const auto version : {MapTilesVersion::naive, MapTilesVersion::vector}) {
          INFO(map.c << "x" << map.h << "x" << map.w << ", block " << map.block << ", "
                     << kMapTilesVersions[static_cast<int>(version)].name);
          const DeviceArray<B, T> gy(size), gdx(x.size());
          gpu::gather_tiles<B>(nullptr, map, c.window, tiles, cells.data(), gx.data(), gy.data(),
                               version);
          gpu::scatter_tiles<B>(nullptr, map, c.window, gplaces.data(), gdy.data(), gdx.data(),
                                version);
          FRCNN_CHECK_SAME(gy.host(), y, 0, 0, true);
          FRCNN_CHECK_SAME(gdx.host(), dx, 0, 0);
        }
      });
    }
}

TEST_CASE("C5: GPU cells of sampled anchors: in order, with their inverse, no more than fit",
          "[tiles]") {
  struct Case {
    int64_t images, cells, anchors, capacity;
    double share;  // of sampled anchors
  };
  for (const Case& c :
       {Case{1, 1, 1, 1, 1}, Case{2, 40, 3, 64, 0.1}, Case{3, 2500, 9, 256, 0.005},
        Case{1, 2048, 2, 100, 0.5}, Case{2, 1025, 1, 1025, 1}, Case{1, 70, 4, 8, 0}}) {
    const auto count = static_cast<size_t>(c.images * c.cells * c.anchors);
    const auto random = random_vector<double>(count, 0, 1, 3);
    std::vector<int32_t> labels, cells, places;
    for (size_t i = 0; i < count; ++i)
      labels.push_back(random[i] < c.share ? static_cast<int32_t>(i % 2) : -1);
    for (int64_t n = 0; n < c.images; ++n) {
      for (int64_t cell = n * c.cells; cell < (n + 1) * c.cells; ++cell) {
        const auto* own = labels.data() + cell * c.anchors;
        const bool sampled = std::any_of(own, own + c.anchors, [](int32_t l) { return l >= 0; }) &&
                             static_cast<int64_t>(cells.size()) < (n + 1) * c.capacity;
        places.push_back(sampled ? static_cast<int32_t>(cells.size()) : -1);
        if (sampled) cells.push_back(static_cast<int32_t>(cell));
      }
      cells.resize(static_cast<size_t>((n + 1) * c.capacity), -1);
    }
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      INFO(c.images << " x " << c.cells << " cells, capacity " << c.capacity);
      const DeviceArray<B, int32_t> given(labels), found(cells.size()), inverse(places.size());
      gpu::sampled_cells<B>(nullptr, c.images, c.cells, c.anchors, c.capacity, given.data(),
                            found.data(), inverse.data());
      CHECK(found.host() == cells);
      CHECK(inverse.host() == places);
    });
  }
}
