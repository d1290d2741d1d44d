#include "kernels/boxes/topk.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

namespace frcnn::kernels::cpu {

template <typename T>
int64_t top_k(int64_t count, int64_t k, const T* scores, const uint8_t* keep, int64_t* indices) {
  std::vector<std::pair<T, int64_t>> order;
  order.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    if (keep && !keep[i]) continue;
    const T score = scores[i];
    order.emplace_back(std::isnan(score) ? -std::numeric_limits<T>::infinity() : score,
                       // NaN behind everything, -infinity included
                       std::isnan(score) ? i + count : i);
  }
  const auto before = [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  };
  const int64_t n = std::min<int64_t>(k, static_cast<int64_t>(order.size()));
  if (n < static_cast<int64_t>(order.size()))
    std::nth_element(order.begin(), order.begin() + n, order.end(), before);
  std::sort(order.begin(), order.begin() + n, before);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t index = order[static_cast<size_t>(i)].second;
    indices[i] = index >= count ? index - count : index;
  }
  return n;
}

template int64_t top_k<float>(int64_t, int64_t, const float*, const uint8_t*, int64_t*);
template int64_t top_k<double>(int64_t, int64_t, const double*, const uint8_t*, int64_t*);

}  // namespace frcnn::kernels::cpu
