// Shared memory has 32 banks of 4 bytes. The emulation does not see conflicts; here the addresses
// of kernels/conv/tile_layout.cuh are checked as they stand.
#include <set>
#include <vector>

#include "kernels/conv/tile_layout.cuh"
#include "tests/support/support.h"

#if FRCNN_HAVE_EMULATION

using namespace frcnn::kernels;
using namespace frcnn::kernels::gpu::conv;

namespace {
/// Whether accesses of `bytes` at these byte addresses, served together, want no bank twice.
bool conflict_free(const std::vector<int>& addresses, int bytes) {
  std::set<int> banks, words;
  for (const int address : addresses)
    for (int byte = 0; byte < bytes; byte += 4) {
      const int word = (address + byte) / 4;
      if (words.insert(word).second && !banks.insert(word % 32).second) return false;
    }
  return true;
}
}  // namespace

TEST_CASE("GPU convolution: tiles with k contiguous have no bank conflicts") {
  std::set<int> places;
  for (int row = 0; row < 128; ++row)
    for (int chunk = 0; chunk < RowTile::kChunks; ++chunk) places.insert(RowTile::at(row, chunk));
  CHECK(places.size() == 128 * RowTile::kChunks);
  CHECK(*places.rbegin() == 128 * RowTile::kRowBytes - 16);
  for (int first = 0; first < 128; first += 8)
    for (int chunk = 0; chunk < RowTile::kChunks; ++chunk) {
      std::vector<int> rows;  // ldmatrix, the element by element stores
      for (int i = 0; i < 8; ++i) rows.push_back(RowTile::at(first + i, chunk));
      CHECK(conflict_free(rows, 16));
    }
  for (int first = 0; first < 128; first += 16)
    for (int half = 0; half < 8; ++half) {
      std::vector<int> rows;  // half a warp of the FMA core
      for (int x = 0; x < 16; ++x) rows.push_back(RowTile::at_half(first + x, half, x));
      CHECK(conflict_free(rows, 8));
    }
  for (int first = 0; first < 128; first += 2) {
    std::vector<int> chunks;  // asynchronous copies by eight neighbouring lanes
    for (int i = 0; i < 8; ++i) chunks.push_back(RowTile::at(first + i / 4, i % 4));
    CHECK(conflict_free(chunks, 16));
  }
}

TEMPLATE_TEST_CASE("GPU convolution: tiles with k slowest have no bank conflicts", "", LargeShape,
                   SmallShape) {
  constexpr int kColumns = TestType::kN;
  using Narrow = ColumnTile<Bfloat16, kColumns>;
  using Wide = ColumnTile<float, kColumns>;
  for (int column = 0; column < kColumns; column += 8) {
    std::vector<int> rows;  // ldmatrix
    for (int i = 0; i < 8; ++i) rows.push_back(Narrow::at(i, column));
    CHECK(conflict_free(rows, 16));
    std::vector<int> fragment;  // of 32-bit elements: lane 4 g + t reads row t, column g
    for (int lane = 0; lane < 32; ++lane) fragment.push_back(Wide::at(lane % 4, column + lane / 4));
    CHECK(conflict_free(fragment, 4));
  }
  std::vector<int> quads;  // the FMA core: eight neighbouring float4 of a row
  for (int i = 0; i < 8; ++i) quads.push_back(Wide::at(5, 4 * i));
  CHECK(conflict_free(quads, 16));
}

#endif
