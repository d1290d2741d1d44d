// A stable radix sort of all candidates, 11 bits a pass: faster than selection and comparison sort
// at the sizes of proposals (20,000 candidates, 12,000 wanted), and ties keep their order by
// construction.
#include "kernels/boxes/topk.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"

namespace frcnn::kernels::cpu {
namespace {

constexpr int kDigitBits = 11;
constexpr size_t kDigits = size_t{1} << kDigitBits;

template <typename T>
using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

template <typename T>
struct Entry {
  Bits<T> key;
  int32_t index;
};

/// A number that rises where the score falls; the largest for NaN.
template <typename T>
Bits<T> falling_key(T score) {
  constexpr auto kMost = std::numeric_limits<Bits<T>>::max();
  if (std::isnan(score)) return kMost;
  const auto bits = std::bit_cast<Bits<T>>(score + T(0));  // -0 becomes 0
  return bits >> (sizeof(T) * 8 - 1) ? bits : bits ^ (kMost >> 1);
}

template <typename T>
void radix_sort(std::vector<Entry<T>>& entries) {
  constexpr int kPasses = (static_cast<int>(sizeof(T)) * 8 + kDigitBits - 1) / kDigitBits;
  std::array<std::array<size_t, kDigits>, kPasses> starts{};
  const auto digit = [](Bits<T> key, int pass) {
    return static_cast<size_t>(key >> (pass * kDigitBits)) % kDigits;
  };
  for (const Entry<T>& entry : entries)
    for (int pass = 0; pass < kPasses; ++pass)
      ++starts[static_cast<size_t>(pass)][digit(entry.key, pass)];
  std::vector<Entry<T>> other(entries.size());
  for (int pass = 0; pass < kPasses; ++pass) {
    auto& start = starts[static_cast<size_t>(pass)];
    size_t sum = 0;
    for (size_t& place : start) sum += std::exchange(place, sum);
    for (const Entry<T>& entry : entries) other[start[digit(entry.key, pass)]++] = entry;
    entries.swap(other);
  }
}

}  // namespace

template <typename T>
int64_t top_k(int64_t count, int64_t k, const T* scores, const uint8_t* keep, int64_t* indices) {
  check(count <= std::numeric_limits<int32_t>::max(),
        "[top_k] expected fewer than 2^31 scores, got {}", count);
  std::vector<Entry<T>> entries;
  entries.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    if (!keep || keep[i]) entries.push_back({falling_key(scores[i]), static_cast<int32_t>(i)});
  if (entries.size() < kDigits / 2) {  // too few to pay for the counters
    std::sort(entries.begin(), entries.end(), [](const Entry<T>& a, const Entry<T>& b) {
      return a.key != b.key ? a.key < b.key : a.index < b.index;
    });
  } else {
    radix_sort(entries);
  }
  const int64_t n = std::clamp<int64_t>(k, 0, static_cast<int64_t>(entries.size()));
  for (int64_t i = 0; i < n; ++i) indices[i] = entries[static_cast<size_t>(i)].index;
  return n;
}

template <typename T>
void top_k_segments(int64_t segments, int64_t k, const int64_t* offsets, const T* scores,
                    const uint8_t* keep, int64_t* indices, int64_t* counts) {
  parallel_for(segments, 1, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      const int64_t first = offsets[s];
      int64_t* row = indices + s * k;
      counts[s] =
          top_k(offsets[s + 1] - first, k, scores + first, keep ? keep + first : nullptr, row);
      for (int64_t i = 0; i < counts[s]; ++i) row[i] += first;
      std::fill(row + counts[s], row + k, int64_t{-1});
    }
  });
}

#define FRCNN_INSTANTIATE(T)                                                                  \
  template int64_t top_k<T>(int64_t, int64_t, const T*, const uint8_t*, int64_t*);            \
  template void top_k_segments<T>(int64_t, int64_t, const int64_t*, const T*, const uint8_t*, \
                                  int64_t*, int64_t*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
