// Shared memory has 32 banks of 4 bytes: a warp's access is as fast as can be when no two of its
// threads that are served together want different words of one bank. The emulation does not see
// this; here the addresses of gemm_mma.cuh and gemm_registers.cuh are checked as they stand.
#include <algorithm>
#include <array>
#include <set>
#include <vector>

#include "kernels/linear/gemm_tiles.cuh"
#include "tests/support/support.h"

#if FRCNN_HAVE_EMULATION

using namespace frcnn::kernels;
using namespace frcnn::kernels::gpu::gemm;

namespace {

/// How often the fullest bank is visited by accesses of `bytes` at these byte addresses, where the
/// best possible is 1: threads are served in groups that together want 128 bytes.
int visits(const std::vector<int>& addresses, int bytes) {
  const size_t together = static_cast<size_t>(128 / std::max(bytes, 4));
  int most = 0;
  for (size_t first = 0; first < addresses.size(); first += together) {
    std::array<std::set<int>, 32> words;  // of each bank
    for (size_t i = first; i < std::min(addresses.size(), first + together); ++i)
      for (int byte = 0; byte < bytes; byte += 4) {
        const int word = (addresses[i] + byte) / 4;
        words[static_cast<size_t>(word % 32)].insert(word);
      }
    for (const auto& bank : words) most = std::max(most, static_cast<int>(bank.size()));
  }
  return most;
}

template <typename Math, typename T, Major major>
void check_tile() {
  using Tile = MmaTile<Math, T, major>;
  constexpr int kSize = sizeof(T), kHalf = Math::kDepth / 2;
  // Every element has a place of its own.
  std::set<int> places;
  for (int o = 0; o < Tile::kSize; ++o)
    for (int k = 0; k < Tile::kDepth; ++k) places.insert(Tile::at(o, k));
  CHECK(places.size() == static_cast<size_t>(Tile::kElements));
  CHECK((*places.begin() == 0 && *places.rbegin() == Tile::kElements - 1));

  // Copies of 16 bytes: 32 neighbouring ones along the rows, as TileCopy deals them out.
  const int group = 16 / kSize, across = Tile::kColumns / group;
  for (int first = 0; first < Tile::kRows * across; first += 32) {
    std::vector<int> addresses;
    for (int i = first; i < first + 32; ++i) {
      const int row = i / across, column = i % across * group;
      addresses.push_back(kSize *
                          (major == Major::depth ? Tile::at(row, column) : Tile::at(column, row)));
      CHECK(addresses.back() % 16 == 0);
    }
    CHECK(visits(addresses, 16) == 1);
  }
  // Fragments, as load_fragment() reads them.
  for (int o0 = 0; o0 < Tile::kSize; o0 += 16)
    for (int k0 = 0; k0 < Tile::kDepth; k0 += Math::kDepth) {
      for (int i = 0; i < 4; ++i) {
        const int o = o0 + i % 2 * 8, k = k0 + i / 2 * kHalf;
        std::vector<int> addresses;
        int bytes = 4;
        if (Tile::kLdmatrix) {
          bytes = 16;
          for (int row = 0; row < 8; ++row)
            addresses.push_back(
                kSize * (major == Major::depth ? Tile::at(o + row, k) : Tile::at(o, k + row)));
        } else {
          const bool pairs = std::is_same_v<Math, Bf16>;
          if (pairs && major == Major::depth) bytes = 8;
          for (int lane = 0; lane < 32; ++lane)
            addresses.push_back(kSize * Tile::at(o + lane / 4, k + lane % 4 * (pairs ? 2 : 1)));
        }
        CHECK(visits(addresses, bytes) == 1);
      }
    }
}

}  // namespace

TEST_CASE("GPU gemm: tiles in shared memory are free of bank conflicts") {
  check_tile<Tf32, float, Major::depth>();
  check_tile<Tf32, float, Major::outer>();
  check_tile<Bf16, float, Major::depth>();
  check_tile<Bf16, float, Major::outer>();
  check_tile<Bf16, Bfloat16, Major::depth>();
  check_tile<Bf16, Bfloat16, Major::outer>();

  // gemm_registers.cuh: a warp's transposing stores, its rows of 16 bytes, and its reads.
  constexpr int kStride = RegisterTile::kStride;
  std::vector<int> transposed, rows, x, y;
  for (int lane = 0; lane < 32; ++lane) {
    transposed.push_back(4 * (lane % 2 * 4 * kStride + lane / 2));
    rows.push_back(4 * (lane * 4));
    x.push_back(4 * (lane / 8 * 4));
    y.push_back(4 * (lane % 8 * 4));
  }
  CHECK(visits(transposed, 4) == 1);
  CHECK(visits(rows, 16) == 1);
  CHECK(visits(x, 16) == 1);
  CHECK(visits(y, 16) == 1);
}

#endif
