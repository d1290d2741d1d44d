#pragma once

#include <cstdint>
#include <type_traits>

/// Compiles a function three times, for baseline x86-64, AVX2 and AVX-512; the loader picks one for
/// the machine at start-up. For leaf functions that hold the hot loop: what they call must be
/// inlined (FRCNN_INLINE), lambdas included. Sanitized builds use the baseline (their runtime is
/// not up yet when the loader asks).
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FRCNN_SIMD __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define FRCNN_SIMD
#endif
#define FRCNN_INLINE inline __attribute__((always_inline))

namespace frcnn::kernels {

/// Vectors of N numbers for kernels whose loops the compiler does not vectorise by itself. The
/// types need no alignment beyond that of T. They are passed by reference only: by value their
/// calling convention depends on the target. Arithmetic on vectors wider than the machine's is
/// split by the compiler; comparisons and selections are not (they become scalar code): use Parts
/// for those.
template <typename T, int N>
struct Simd {
  using Int = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;
  typedef T Vec __attribute__((vector_size(N * sizeof(T)), aligned(alignof(T)), may_alias));
  typedef Int IntVec __attribute__((vector_size(N * sizeof(T)), aligned(alignof(T)), may_alias));
  typedef int32_t I32Vec __attribute__((vector_size(N * 4), aligned(4), may_alias));
  typedef uint8_t U8Vec __attribute__((vector_size(N), aligned(1), may_alias));
};

/// One number is just that: a vector of one is slow code.
template <typename T>
struct Simd<T, 1> {
  using Int = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;
  using Vec = T;
  using IntVec = Int;
  using I32Vec = int32_t;
  using U8Vec = uint8_t;
};

/// N numbers as kCount vectors of at most 32 bytes.
template <typename T, int N>
struct Parts {
  static constexpr int kLanes = N < int(32 / sizeof(T)) ? N : int(32 / sizeof(T));
  static constexpr int kCount = N / kLanes;
  using V = Simd<T, kLanes>;
};

/// to = from, number by number, between vectors (or numbers) of the same length.
template <typename To, typename From>
FRCNN_INLINE void convert_lanes(const From& from, To& to) {
  if constexpr (std::is_arithmetic_v<From>)
    to = static_cast<To>(from);
  else
    to = __builtin_convertvector(from, To);
}

}  // namespace frcnn::kernels

/// *p read or written as a vector of type V.
#define FRCNN_LOAD(V, p) (*reinterpret_cast<const V*>(p))
#define FRCNN_STORE(V, p) (*reinterpret_cast<V*>(p))
