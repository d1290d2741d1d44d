// Windows of a map around some of its cells.
#include <limits>

#include "kernels/elementwise/map_tiles.h"
#include "tests/kernels/map_support.h"

using namespace frcnn::kernels;
using namespace frcnn::test;

TEST_CASE("tiles of a map: known values, zeros outside and in unused tiles", "[tiles]") {
  const MapLayout map{2, 1, 3, 4, 1};
  std::vector<double> x;
  for (int i = 1; i <= 24; ++i) x.push_back(i);
  const std::vector<int32_t> cells = {5, -1, 23};  // (0, 1, 1), none, (1, 2, 3)
  std::vector<double> y(27, std::numeric_limits<double>::quiet_NaN());
  cpu::gather_tiles(map, 3, 3, cells.data(), x.data(), y.data());
  const std::vector<double> expected = {1,  2,  3, 5,  6,  7, 9, 10, 11,  // rows 0 to 2
                                        0,  0,  0, 0,  0,  0, 0, 0,  0,   //
                                        19, 20, 0, 23, 24, 0, 0, 0,  0};
  CHECK(y == expected);

  // Every number of the gradient arrives once: tile 0 in image 0, four cells of tile 2 in image 1.
  std::vector<int32_t> places(24, -1);
  places[5] = 0;
  places[23] = 2;
  std::vector<double> dx(24, std::numeric_limits<double>::quiet_NaN()), back(24, 0);
  cpu::scatter_tiles(map, 3, places.data(), y.data(), dx.data());
  for (const size_t i : {0, 1, 2, 4, 5, 6, 8, 9, 10, 18, 19, 22, 23}) back[i] = x[i];
  CHECK(dx == back);
}

TEST_CASE("tiles of a map: scatter is the transpose of gather, in every layout and any threads",
          "[tiles]") {
  for (const int window : {1, 3, 5})
    for (const MapLayout& map : layouts_of({2, 20, 5, 4})) {
      INFO("window " << window << ", block " << map.block);
      const std::vector<int32_t> cells = {39, 0, 1, 6, -1, 22, 21, 20, 26};
      const auto tiles = static_cast<int64_t>(cells.size());
      const MapLayout out = tiles_layout(map, window, tiles);
      const auto plain_x = random_vector<double>(800, -1, 1, 1);
      const auto plain_dy =
          random_vector<double>(static_cast<size_t>(tiles * 20 * window * window), -1, 1, 2);
      const auto x = blocked<double>(map, plain_x), dy = blocked<double>(out, plain_dy);
      std::vector<int32_t> places(40, -1);
      for (size_t t = 0; t < cells.size(); ++t)
        if (cells[t] >= 0) places[static_cast<size_t>(cells[t])] = static_cast<int32_t>(t);
      std::vector<double> y(dy.size()), dx(x.size());
      cpu::gather_tiles(map, window, tiles, cells.data(), x.data(), y.data());
      cpu::scatter_tiles(map, window, places.data(), dy.data(), dx.data());
      double forward = 0, backward = 0;
      for (size_t i = 0; i < y.size(); ++i) forward += y[i] * dy[i];
      for (size_t i = 0; i < x.size(); ++i) backward += x[i] * dx[i];
      CHECK(std::abs(forward - backward) <= 1e-12 * std::abs(forward) + 1e-12);
      CHECK(forward != 0);
      int bad_padding = 0;
      plain<double>(out, std::span<const double>(y), &bad_padding);
      plain<double>(map, std::span<const double>(dx), &bad_padding);
      CHECK(bad_padding == 0);
    }
}

TEST_CASE("tiles of a map: an even window is refused", "[tiles]") {
  const MapLayout map{1, 1, 2, 2, 1};
  const int32_t cell = 0;
  double x[4] = {}, y[4] = {};
  CHECK_THROWS_WITH(cpu::gather_tiles(map, 2, 1, &cell, x, y), mentions("odd"));
}
