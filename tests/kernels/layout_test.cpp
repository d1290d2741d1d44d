// Places of a map's elements in memory.
#include "kernels/launch/layout.h"

#include <set>

#include "tests/support/catch.h"

using frcnn::kernels::MapLayout;

TEST_CASE("layout: every element has a place of its own, and every place its element") {
  for (const MapLayout& map : {MapLayout{2, 3, 4, 5, 1}, MapLayout{2, 3, 4, 5, 3},
                               MapLayout{1, 19, 3, 2, 8}, MapLayout{3, 16, 1, 7, 16}}) {
    INFO(map.c << " channels in blocks of " << map.block);
    std::set<int64_t> places;
    for (int64_t n = 0; n < map.n; ++n)
      for (int64_t c = 0; c < map.c; ++c)
        for (int64_t h = 0; h < map.h; ++h)
          for (int64_t w = 0; w < map.w; ++w) {
            const int64_t place = map.at(n, c, h, w);
            REQUIRE(places.insert(place).second);
            const MapLayout::Element e = map.element(place);
            REQUIRE((e.n == n && e.c == c && e.h == h && e.w == w));
          }
    // What is left is the padding of the last block.
    for (int64_t i = 0; i < map.size(); ++i)
      REQUIRE(places.contains(i) == (map.element(i).c < map.c));
  }
}
