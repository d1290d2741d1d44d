#include "kernels/elementwise/reductions.h"

#include <bit>
#include <cstdint>
#include <type_traits>

#include "kernels/launch/parallel.h"
#include "kernels/launch/simd.h"

namespace frcnn::kernels::cpu {
namespace {

constexpr int64_t kPiece = 16384;  // fixed, so that the order of additions is

/// Sixteen running sums in double: their order is fixed, and they fill the vector units.
template <typename T, bool kProduct>
FRCNN_SIMD double sum_range(int64_t begin, int64_t end, const T* a, const T* b) {
  double sums[16] = {};
  int64_t i = begin;
  for (; i + 16 <= end; i += 16)
    for (int j = 0; j < 16; ++j)
      sums[j] += kProduct ? static_cast<double>(a[i + j]) * static_cast<double>(b[i + j])
                          : static_cast<double>(a[i + j]);
  for (; i < end; ++i)
    sums[0] += kProduct ? static_cast<double>(a[i]) * static_cast<double>(b[i])
                        : static_cast<double>(a[i]);
  double total = 0;
  for (double s : sums) total += s;
  return total;
}

/// True when a number in [begin, end) has all exponent bits set.
template <typename T>
FRCNN_SIMD bool any_non_finite(int64_t begin, int64_t end, const T* x) {
  using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
  constexpr Bits kExponent = sizeof(T) == 8 ? Bits(0x7FF0000000000000u) : Bits(0x7F800000u);
  Bits any = 0;
  for (int64_t i = begin; i < end; ++i)
    any |= (std::bit_cast<Bits>(x[i]) & kExponent) == kExponent ? Bits(1) : Bits(0);
  return any != 0;
}

/// The smallest index found; adding keeps the first of two in order.
struct First {
  int64_t index = -1;
  First& operator+=(const First& later) {
    if (index < 0) index = later.index;
    return *this;
  }
};

}  // namespace

template <typename T>
double sum(int64_t count, const T* x) {
  return parallel_reduce<double>(count, kPiece, [=](int64_t begin, int64_t end) {
    return sum_range<T, false>(begin, end, x, x);
  });
}

template <typename T>
double dot(int64_t count, const T* a, const T* b) {
  return parallel_reduce<double>(count, kPiece, [=](int64_t begin, int64_t end) {
    return sum_range<T, true>(begin, end, a, b);
  });
}

template <typename T>
double sum_of_squares(int64_t count, const T* x) {
  return dot(count, x, x);
}

template <typename T>
int64_t first_non_finite(int64_t count, const T* x) {
  return parallel_reduce<First>(count, kPiece,
                                [=](int64_t begin, int64_t end) {
                                  if (any_non_finite(begin, end, x))
                                    for (int64_t i = begin; i < end; ++i)
                                      if (any_non_finite(i, i + 1, x)) return First{i};
                                  return First{};
                                })
      .index;
}

#define FRCNN_INSTANTIATE(T)                            \
  template double sum<T>(int64_t, const T*);            \
  template double dot<T>(int64_t, const T*, const T*);  \
  template double sum_of_squares<T>(int64_t, const T*); \
  template int64_t first_non_finite<T>(int64_t, const T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
