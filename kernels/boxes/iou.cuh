#pragma once

#include "kernels/launch/gpu.cuh"

namespace frcnn::kernels::gpu {

/// Four numbers of a box; arrays of boxes begin at multiples of 16 bytes.
template <typename T>
struct alignas(16) Quad {
  T v[4];
};

template <typename T>
__device__ inline Quad<T> load_quad(const T* from) {
  return *reinterpret_cast<const Quad<T>*>(from);
}
template <typename T>
__device__ inline void store_quad(T* to, const Quad<T>& quad) {
  *reinterpret_cast<Quad<T>*>(to) = quad;
}

/// A box with its area. Here and below every operation is rounded by itself, as in the CPU versions
/// of suppression and matching: overlaps are the same bits on every device.
template <typename T>
struct AreaBox {
  T x1, y1, x2, y2, area;
};

template <typename T>
__device__ inline AreaBox<T> load_box(const T* from) {
  const Quad<T> b = load_quad(from);
  return {b.v[0], b.v[1], b.v[2], b.v[3], mul_rn(sub_rn(b.v[2], b.v[0]), sub_rn(b.v[3], b.v[1]))};
}

/// Area of the intersection. fmin and fmax pass over a NaN, but the area of that box is NaN, and
/// with it every overlap that is divided by the union.
template <typename T>
__device__ inline T intersection(const AreaBox<T>& a, const AreaBox<T>& b) {
  const T w = std::fmax(T(0), sub_rn(std::fmin(a.x2, b.x2), std::fmax(a.x1, b.x1)));
  const T h = std::fmax(T(0), sub_rn(std::fmin(a.y2, b.y2), std::fmax(a.y1, b.y1)));
  return mul_rn(w, h);
}
template <typename T>
__device__ inline T union_area(const AreaBox<T>& a, const AreaBox<T>& b, T inter) {
  return sub_rn(add_rn(a.area, b.area), inter);
}

/// Intersection over union; 0 where the boxes do not overlap, NaN or 0 where a box has a NaN.
template <typename T>
__device__ inline T overlap(const AreaBox<T>& a, const AreaBox<T>& b) {
  const T inter = intersection(a, b);
  return inter > T(0) ? div_rn(inter, union_area(a, b, inter)) : T(0);
}

}  // namespace frcnn::kernels::gpu
