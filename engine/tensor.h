#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/device.h"
#include "kernels/launch/bfloat16.h"
#include "kernels/launch/check.h"
#include "kernels/launch/layout.h"

namespace frcnn {

/// i8 and bf16 are for weights and maps of layers of reduced precision (engine/reduced_layer.h):
/// hardly any other operation takes them.
enum class DType : uint8_t { f32, f64, i32, i64, u8, i8, bf16 };

/// Bytes of one element.
size_t size_of(DType dtype);
/// "f32", "f64", "i32", "i64", "u8", "i8", "bf16".
const char* name_of(DType dtype);
template <typename T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<float>() {
  return DType::f32;
}
template <>
constexpr DType dtype_of<double>() {
  return DType::f64;
}
template <>
constexpr DType dtype_of<int32_t>() {
  return DType::i32;
}
template <>
constexpr DType dtype_of<int64_t>() {
  return DType::i64;
}
template <>
constexpr DType dtype_of<uint8_t>() {
  return DType::u8;
}
template <>
constexpr DType dtype_of<int8_t>() {
  return DType::i8;
}
template <>
constexpr DType dtype_of<kernels::Bfloat16>() {
  return DType::bf16;
}

/// Sizes, slowest first.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) : dims_(dims) {}
  explicit Shape(std::vector<int64_t> dims) : dims_(std::move(dims)) {}

  int rank() const { return static_cast<int>(dims_.size()); }
  /// Size of dimension i; negative i counts from the end.
  int64_t operator[](int i) const;
  int64_t numel() const;
  std::span<const int64_t> dims() const { return dims_; }
  bool operator==(const Shape&) const = default;
  /// "(1, 512, 38, 50)"
  std::string string() const;

 private:
  std::vector<int64_t> dims_;
};

class Storage;
class TensorImpl;

/// A handle to an n-dimensional array; copies share the memory.
///
/// The logical order of a feature map is always (N, C, H, W); `channel_block` tells how it lies in
/// memory (kernels/launch/layout.h): 1 NCHW, C NHWC, 8 or 16 blocked. Tensors of any other rank,
/// and views, have channel_block 1, which means plain row-major order.
class Tensor {
 public:
  Tensor() = default;

  /// Uninitialised memory from the device's caching allocator. Throws Error past the memory limit.
  static Tensor empty(const Shape& shape, DType dtype = DType::f32, Device device = {},
                      int64_t channel_block = 1);
  static Tensor zeros(const Shape& shape, DType dtype = DType::f32, Device device = {},
                      int64_t channel_block = 1);
  /// A copy of `values` with the given shape; sizes must agree.
  template <typename T>
  static Tensor from(const Shape& shape, std::span<const T> values, Device device = {});
  template <typename T>
  static Tensor from(const Shape& shape, const std::vector<T>& values, Device device = {}) {
    return from<T>(shape, std::span<const T>(values), device);
  }

  bool defined() const { return impl_ != nullptr; }
  explicit operator bool() const { return defined(); }
  const Shape& shape() const;
  int rank() const { return shape().rank(); }
  int64_t dim(int i) const { return shape()[i]; }
  /// Logical elements, padding of blocked formats not counted.
  int64_t numel() const { return shape().numel(); }
  DType dtype() const;
  Device device() const;
  int64_t channel_block() const;
  /// Layout of a rank 4 tensor for kernels.
  kernels::MapLayout map_layout() const;
  /// Elements and bytes in memory, padding counted.
  int64_t stored_elements() const;
  size_t stored_bytes() const { return static_cast<size_t>(stored_elements()) * size_of(dtype()); }

  /// Pointer to the first element. Throws Error when T is not the tensor's type.
  template <typename T>
  T* data();
  template <typename T>
  const T* data() const;
  void* raw();
  const void* raw() const;
  /// The stored elements.
  template <typename T>
  std::span<T> span() {
    return {data<T>(), static_cast<size_t>(stored_elements())};
  }
  template <typename T>
  std::span<const T> span() const {
    return {data<T>(), static_cast<size_t>(stored_elements())};
  }
  /// The only element of a tensor with one element, as double; waits for the device.
  double item() const;
  /// A host copy in plain row-major order, whatever the format and device.
  template <typename T>
  std::vector<T> to_vector() const;

  /// Same memory, other shape of the same size; needs channel_block 1 (or a map with H = W = 1).
  Tensor view(const Shape& shape) const;
  /// Rows [begin, begin + count) of the first dimension; same memory; needs channel_block 1.
  Tensor rows(int64_t begin, int64_t count) const;
  /// Copies: new memory; same or another channel block (rank 4), type or device.
  Tensor clone() const;
  Tensor to_block(int64_t channel_block) const;  ///< *this when it is already so
  Tensor to(DType dtype) const;                  ///< *this when it is already so
  Tensor to(Device device) const;                ///< *this when it is already there
  void fill(double value);
  /// Copies the values of `source` (same shape and dtype, any format and device) into this memory.
  void copy_from(const Tensor& source);
  /// Moves this array (for every handle that shares it) into the memory of `place`, a tensor of the
  /// same shape and type, after copying the values there. How parameters enter flat buckets.
  void move_into(const Tensor& place);

  // --- automatic differentiation (engine/tape.h) ---
  /// True for parameters that are trained and for everything computed from them on a tape.
  bool requires_grad() const;
  Tensor& set_requires_grad(bool value);
  /// Gradient buffer of a leaf: what set_grad() was given or Tape::backward() made.
  Tensor grad() const;
  void set_grad(Tensor grad);
  /// Declares the gradient buffer's content void: the next gradient overwrites instead of adding.
  void reset_grad();
  /// True from reset_grad() until a gradient has been written.
  bool grad_is_reset() const;
  void mark_grad_written();
  /// Number that no other tensor of this program has; 0 for an undefined handle.
  uint64_t id() const;
  /// Counts the writes announced by bump_version(); shared by all views of one memory. Packed
  /// copies of weights compare it.
  uint64_t version() const;
  void bump_version();

 private:
  friend class TensorImpl;
  std::shared_ptr<TensorImpl> impl_;
};

}  // namespace frcnn
