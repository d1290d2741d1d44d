// Tensor: values in, out and across types, formats and devices.
#include <cstring>

#include "engine/dispatch.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/reorder_map.h"

namespace frcnn {
namespace {

template <typename F>
void with_type(DType dtype, const F& f) {
  switch (dtype) {
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    case DType::i32:
      return f(int32_t{});
    case DType::i64:
      return f(int64_t{});
    case DType::u8:
      return f(uint8_t{});
    case DType::i8:
    case DType::bf16:
      fail("[tensor] {} is neither filled nor converted: only layers of reduced precision use it",
           name_of(dtype));
  }
}

/// Copies bytes between any two places; waits for the device when they come to the host.
void copy_bytes(void* target, Device to, const void* source, Device from, size_t bytes) {
  if (bytes == 0) return;
  if (!to.is_gpu() && !from.is_gpu()) {
    std::memmove(target, source, bytes);
    return;
  }
  check(!to.is_gpu() || !from.is_gpu() || to == from, "[copy] from {} to {}: go through the CPU",
        from.name(), to.name());
  with_gpu(to.is_gpu() ? to : from, [&](auto on) {
    constexpr kernels::Backend kBackend = decltype(on)::backend;
    if (!from.is_gpu())
      kernels::gpu::copy_to_device<kBackend>(on.stream, target, source, bytes);
    else if (!to.is_gpu())
      kernels::gpu::copy_to_host<kBackend>(on.stream, target, source, bytes);
    else
      kernels::gpu::copy_on_device<kBackend>(on.stream, target, source, bytes);
  });
}

/// Into another channel block on one device. Elements are only moved, so that one kernel serves all
/// types of a size.
void reorder(const Tensor& source, Tensor& target) {
  const auto move = [&](auto word) {
    using T = decltype(word);
    const T* from = static_cast<const T*>(source.raw());
    T* to = static_cast<T*>(target.raw());
    FRCNN_CALL(source.device(), reorder_map, source.map_layout(), target.channel_block(), from, to);
  };
  switch (size_of(source.dtype())) {
    case 4:
      return move(float{});
    case 8:
      return move(double{});
    default:
      fail("[copy] a map of {} cannot change its layout", name_of(source.dtype()));
  }
}

}  // namespace

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device, int64_t channel_block) {
  Tensor tensor = empty(shape, dtype, device, channel_block);
  tensor.fill(0);
  return tensor;
}

template <typename T>
Tensor Tensor::from(const Shape& shape, std::span<const T> values, Device device) {
  check(shape.numel() == static_cast<int64_t>(values.size()),
        "[tensor] shape {} needs {} values, got {}", shape.string(), shape.numel(), values.size());
  Tensor tensor = empty(shape, dtype_of<T>(), device);
  copy_bytes(tensor.raw(), device, values.data(), Device{}, values.size_bytes());
  return tensor;
}

double Tensor::item() const {
  check(numel() == 1, "[tensor] item() needs exactly one element, got {}", shape().string());
  double value = 0;
  with_type(dtype(),
            [&](auto zero) { value = static_cast<double>(to_vector<decltype(zero)>().front()); });
  return value;
}

template <typename T>
std::vector<T> Tensor::to_vector() const {
  const Tensor plain = to_block(1);
  std::vector<T> values(static_cast<size_t>(plain.numel()));
  copy_bytes(values.data(), Device{}, plain.data<T>(), device(), plain.stored_bytes());
  return values;
}

#define FRCNN_INSTANTIATE(T)                                                 \
  template Tensor Tensor::from<T>(const Shape&, std::span<const T>, Device); \
  template std::vector<T> Tensor::to_vector<T>() const;
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
FRCNN_INSTANTIATE(int32_t)
FRCNN_INSTANTIATE(int64_t)
FRCNN_INSTANTIATE(uint8_t)
FRCNN_INSTANTIATE(int8_t)
#undef FRCNN_INSTANTIATE

Tensor Tensor::clone() const {
  Tensor copy = empty(shape(), dtype(), device(), channel_block());
  copy_bytes(copy.raw(), device(), raw(), device(), copy.stored_bytes());
  return copy;
}

Tensor Tensor::to_block(int64_t block) const {
  if (channel_block() == block) return *this;
  Tensor copy = empty(shape(), dtype(), device(), block);
  reorder(*this, copy);
  return copy;
}

Tensor Tensor::to(DType new_type) const {
  if (dtype() == new_type) return *this;
  Tensor copy = empty(shape(), new_type, device(), channel_block());
  with_type(dtype(), [&](auto from) {
    with_type(new_type, [&](auto into) {
      const auto* source = data<decltype(from)>();
      auto* target = copy.data<decltype(into)>();
      FRCNN_CALL(device(), convert, stored_elements(), source, target);
    });
  });
  return copy;
}

Tensor Tensor::to(Device new_device) const {
  if (device() == new_device) return *this;
  Tensor copy = empty(shape(), dtype(), new_device, channel_block());
  copy_bytes(copy.raw(), new_device, raw(), device(), copy.stored_bytes());
  return copy;
}

void Tensor::fill(double value) {
  check(value == 0 || stored_elements() == numel(),
        "[fill] a padded map can only be filled with zero");
  if (stored_elements() == 0) return;
  with_type(dtype(), [&](auto zero) {
    using T = decltype(zero);
    T* target = data<T>();
    FRCNN_CALL(device(), fill, stored_elements(), static_cast<T>(value), target);
  });
}

void Tensor::copy_from(const Tensor& source) {
  check(shape() == source.shape() && dtype() == source.dtype(), "[copy] expected {} {}, got {} {}",
        name_of(dtype()), shape().string(), name_of(source.dtype()), source.shape().string());
  if (stored_elements() == 0) return;
  if (channel_block() != source.channel_block() && device() == source.device())
    return reorder(source, *this);
  const Tensor same_block = source.to_block(channel_block());
  copy_bytes(raw(), device(), same_block.raw(), source.device(), stored_bytes());
}

}  // namespace frcnn
