// Candidates are compared with the boxes kept so far, not all pairs with each other: the work is
// count * kept instead of count^2 / 2. The kept boxes of a group lie in separate coordinate arrays,
// so that one candidate meets 16 (float) of them per step, and stops at the first 64 that contain a
// suppressor. A division per pair would cost as much as all the rest: a product decides first which
// pairs can pass the limit at all, and only those are divided.
//
// Compiled without contraction of a * b + c (kernels/CMakeLists.txt): overlaps at the limit fall
// the same way on every machine.
#include "kernels/boxes/nms.h"

#include <algorithm>
#include <bit>
#include <unordered_map>
#include <vector>

#include "kernels/boxes/nms_limit.h"
#include "kernels/boxes/topk.h"
#include "kernels/launch/simd.h"

namespace frcnn::kernels::cpu {
namespace {

constexpr size_t kBlock = 64;

/// 64 kept boxes; unused places are empty boxes that suppress nothing.
template <typename T>
struct Block {
  T x1[kBlock] = {}, y1[kBlock] = {}, x2[kBlock] = {}, y2[kBlock] = {}, area[kBlock] = {};
};

template <typename T>
struct Candidate {
  T x1, y1, x2, y2, area;
};

/// Whether the block may hold a box with IoU > limit: whether inter - coarse * union >= 0 anywhere,
/// told from the sign bits alone, which vectorises on every machine.
template <typename T>
FRCNN_INLINE bool may_suppress(const Block<T>& block, const Candidate<T>& c, T coarse) {
  using Int = typename Simd<T, 1>::Int;
  Int signs = -1;
  for (size_t k = 0; k < kBlock; ++k) {
    const T w = std::max(T(0), std::min(block.x2[k], c.x2) - std::max(block.x1[k], c.x1));
    const T h = std::max(T(0), std::min(block.y2[k], c.y2) - std::max(block.y1[k], c.y1));
    const T inter = w * h;
    signs &= std::bit_cast<Int>(inter - (block.area[k] + c.area - inter) * coarse);
  }
  return signs >= 0;
}

/// Whether some box of the blocks has IoU > limit with the candidate.
template <typename T>
FRCNN_SIMD bool suppressed(const Block<T>* blocks, size_t count, const Candidate<T>& c,
                           const NmsLimit<T>& limit) {
  for (const Block<T>* block = blocks; block < blocks + count; ++block) {
    if (!limit.always_divide && !may_suppress(*block, c, limit.coarse)) continue;
    int hits = 0;
    for (size_t k = 0; k < kBlock; ++k) {
      const T w = std::max(T(0), std::min(block->x2[k], c.x2) - std::max(block->x1[k], c.x1));
      const T h = std::max(T(0), std::min(block->y2[k], c.y2) - std::max(block->y1[k], c.y1));
      const T inter = w * h;
      hits |= inter / (block->area[k] + c.area - inter) > limit.exact ? 1 : 0;
    }
    if (hits) return true;
  }
  return false;
}

/// Kept boxes of one group.
template <typename T>
struct Kept {
  std::vector<Block<T>> blocks;
  size_t count = 0;

  void add(const Candidate<T>& c) {
    const size_t k = count++ % kBlock;
    if (k == 0) blocks.emplace_back();
    Block<T>& block = blocks.back();
    block.x1[k] = c.x1;
    block.y1[k] = c.y1;
    block.x2[k] = c.x2;
    block.y2[k] = c.y2;
    block.area[k] = c.area;
  }
};

}  // namespace

template <typename T>
int64_t nms_sorted(int64_t count, double threshold, int64_t max_keep, const T* boxes,
                   const int32_t* groups, int64_t* kept) {
  const NmsLimit<T> limit(threshold);
  std::unordered_map<int32_t, Kept<T>> by_group;
  Kept<T>* group = groups ? nullptr : &by_group[0];
  int64_t n = 0;
  for (int64_t i = 0; i < count && n < max_keep; ++i) {
    if (groups) group = &by_group[groups[i]];
    const T* b = boxes + 4 * i;
    const Candidate<T> c{b[0], b[1], b[2], b[3], (b[2] - b[0]) * (b[3] - b[1])};
    if (suppressed(group->blocks.data(), group->blocks.size(), c, limit)) continue;
    group->add(c);
    kept[n++] = i;
  }
  return n;
}

template <typename T>
int64_t nms(int64_t count, double threshold, int64_t max_keep, const T* boxes, const T* scores,
            const int32_t* groups, int64_t* kept) {
  const auto size = static_cast<size_t>(count);
  std::vector<int64_t> order(size);
  top_k(count, count, scores, nullptr, order.data());
  std::vector<T> sorted(4 * size);
  std::vector<int32_t> sorted_groups(groups ? size : 0);
  for (size_t i = 0; i < size; ++i) {
    std::copy_n(boxes + 4 * order[i], 4, sorted.data() + 4 * i);
    if (groups) sorted_groups[i] = groups[order[i]];
  }
  const int64_t n = nms_sorted(count, threshold, max_keep, sorted.data(),
                               groups ? sorted_groups.data() : nullptr, kept);
  for (int64_t i = 0; i < n; ++i) kept[i] = order[static_cast<size_t>(kept[i])];
  return n;
}

#define FRCNN_INSTANTIATE(T)                                                                    \
  template int64_t nms_sorted<T>(int64_t, double, int64_t, const T*, const int32_t*, int64_t*); \
  template int64_t nms<T>(int64_t, double, int64_t, const T*, const T*, const int32_t*, int64_t*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
