#pragma once

#include <compare>
#include <cstdint>

namespace frcnn::kernels::gpu {

/// C (m, n) = A (m, k) B (k, n), C in rows. a_outer: A is stored as (k, m), else as (m, k);
/// b_outer: B is stored as (k, n), else as (n, k).
struct ProductShape {
  int64_t m = 0, n = 0, k = 0;
  bool a_outer = false, b_outer = false;
  auto operator<=>(const ProductShape&) const = default;
};

/// The same as the BLAS wants it. It thinks in columns, and a matrix stored in rows is its
/// transpose stored in columns; so the result is CT (n x m) = BT AT: B is the first operand, A the
/// second. result = op(first) op(second), where op transposes or not; strides are leading
/// dimensions.
struct BlasCall {
  int64_t m, n, k;  ///< of the BLAS: rows and columns of its result
  bool transpose_first, transpose_second;
  int64_t stride_first, stride_second, stride_result;
};

constexpr BlasCall blas_call(const ProductShape& s) {
  return {s.n,
          s.m,
          s.k,
          !s.b_outer,  // (n, k) in rows is k x n in columns
          s.a_outer,   // (k, m) in rows is m x k in columns
          s.b_outer ? s.n : s.k,
          s.a_outer ? s.m : s.k,
          s.n};
}

}  // namespace frcnn::kernels::gpu
