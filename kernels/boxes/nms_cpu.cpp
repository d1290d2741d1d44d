// Candidates are compared with the boxes kept so far, not all pairs with each other: the work is
// count * kept instead of count^2 / 2. The kept boxes of a group lie in separate coordinate arrays
// and are taken 16 at a time, so that one candidate meets 16 of them per step and stops at the
// first that suppresses it.
#include "kernels/boxes/nms.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <vector>

namespace frcnn::kernels::cpu {
namespace {

constexpr size_t kLanes = 16;

/// Kept boxes of one group, in blocks of 16; unused lanes are empty boxes that suppress nothing.
template <typename T>
class Kept {
 public:
  void add(const T* b, T area) {
    const size_t lane = count_ % kLanes;
    if (lane == 0) blocks_.push_back(Block{});
    Block& block = blocks_.back();
    block.x1[lane] = b[0];
    block.y1[lane] = b[1];
    block.x2[lane] = b[2];
    block.y2[lane] = b[3];
    block.area[lane] = area;
    ++count_;
  }

  /// Whether some kept box has IoU > threshold with b. inter / union > t is the same as it is
  /// written here, in torchvision's order of operations, so that ties at the threshold fall alike.
  bool suppresses(const T* b, T area, T threshold) const {
    const T x1 = b[0], y1 = b[1], x2 = b[2], y2 = b[3];
    for (const Block& block : blocks_) {
      int hits = 0;
      for (size_t k = 0; k < kLanes; ++k) {
        const T w = std::max(T(0), std::min(block.x2[k], x2) - std::max(block.x1[k], x1));
        const T h = std::max(T(0), std::min(block.y2[k], y2) - std::max(block.y1[k], y1));
        const T inter = w * h;
        hits += inter / (block.area[k] + area - inter) > threshold ? 1 : 0;
      }
      if (hits) return true;
    }
    return false;
  }

 private:
  struct Block {
    std::array<T, kLanes> x1{}, y1{}, x2{}, y2{}, area{};
  };
  std::vector<Block> blocks_;
  size_t count_ = 0;
};

}  // namespace

template <typename T>
int64_t nms_sorted(int64_t count, double threshold, int64_t max_keep, const T* boxes,
                   const int32_t* groups, int64_t* kept) {
  std::unordered_map<int32_t, Kept<T>> by_group;
  Kept<T>* group = &by_group[groups && count > 0 ? groups[0] : 0];
  const T limit = static_cast<T>(threshold);
  int64_t n = 0;
  for (int64_t i = 0; i < count && n < max_keep; ++i) {
    if (groups) group = &by_group[groups[i]];
    const T* b = boxes + 4 * i;
    const T area = (b[2] - b[0]) * (b[3] - b[1]);
    if (group->suppresses(b, area, limit)) continue;
    group->add(b, area);
    kept[n++] = i;
  }
  return n;
}

template int64_t nms_sorted<float>(int64_t, double, int64_t, const float*, const int32_t*,
                                   int64_t*);
template int64_t nms_sorted<double>(int64_t, double, int64_t, const double*, const int32_t*,
                                    int64_t*);

}  // namespace frcnn::kernels::cpu
