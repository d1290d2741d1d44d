#include "engine/tensor.h"

#include <atomic>

#include "engine/memory.h"

namespace frcnn {

size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::bf16:
      return 2;
    case DType::u8:
    case DType::i8:
      return 1;
  }
  return 0;
}

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::f64:
      return "f64";
    case DType::i32:
      return "i32";
    case DType::i64:
      return "i64";
    case DType::u8:
      return "u8";
    case DType::i8:
      return "i8";
    case DType::bf16:
      return "bf16";
  }
  return "?";
}

int64_t Shape::operator[](int i) const {
  const int index = i < 0 ? i + rank() : i;
  check(index >= 0 && index < rank(), "[shape] no dimension {} in {}", i, string());
  return dims_[static_cast<size_t>(index)];
}

int64_t Shape::numel() const {
  int64_t count = 1;
  for (const int64_t d : dims_) count *= d;
  return count;
}

std::string Shape::string() const {
  std::string text = "(";
  for (size_t i = 0; i < dims_.size(); ++i) text += fmt::format("{}{}", i ? ", " : "", dims_[i]);
  return text + ")";
}

/// One block of device memory with the count of announced writes.
class Storage {
 public:
  Storage(size_t bytes, Device device)
      : device_(device), pointer_(CachingAllocator::of(device).allocate(bytes)) {}
  ~Storage() { CachingAllocator::of(device_).release(pointer_); }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  std::byte* bytes() const { return static_cast<std::byte*>(pointer_); }
  Device device() const { return device_; }
  std::atomic<uint64_t> version{0};

 private:
  Device device_;
  void* pointer_;
};

class TensorImpl {
 public:
  std::shared_ptr<Storage> storage;
  size_t offset = 0;  // bytes
  Shape shape;
  DType dtype = DType::f32;
  int64_t block = 1;
  bool requires_grad = false;
  bool grad_reset = false;
  Tensor grad;
  const uint64_t id = next_id();

  static Tensor handle(std::shared_ptr<TensorImpl> impl) {
    Tensor tensor;
    tensor.impl_ = std::move(impl);
    return tensor;
  }

 private:
  static uint64_t next_id() {
    static std::atomic<uint64_t> counter{0};
    return ++counter;
  }
};

namespace {

kernels::MapLayout layout_of(const Shape& shape, int64_t block) {
  return {shape[0], shape[1], shape[2], shape[3], block};
}

}  // namespace

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device, int64_t channel_block) {
  for (const int64_t d : shape.dims())
    check(d >= 0, "[tensor] sizes must not be negative, got {}", shape.string());
  check(channel_block == 1 || shape.rank() == 4,
        "[tensor] a channel block of {} needs a shape (N, C, H, W), got {}", channel_block,
        shape.string());
  auto impl = std::make_shared<TensorImpl>();
  impl->shape = shape;
  impl->dtype = dtype;
  impl->block = channel_block;
  const int64_t stored =
      channel_block == 1 ? shape.numel() : layout_of(shape, channel_block).size();
  impl->storage = std::make_shared<Storage>(static_cast<size_t>(stored) * size_of(dtype), device);
  return TensorImpl::handle(std::move(impl));
}

const Shape& Tensor::shape() const {
  check(defined(), "[tensor] used before it was given a value");
  return impl_->shape;
}
DType Tensor::dtype() const {
  check(defined(), "[tensor] used before it was given a value");
  return impl_->dtype;
}
Device Tensor::device() const {
  check(defined(), "[tensor] used before it was given a value");
  return impl_->storage->device();
}
int64_t Tensor::channel_block() const {
  check(defined(), "[tensor] used before it was given a value");
  return impl_->block;
}

kernels::MapLayout Tensor::map_layout() const {
  check(rank() == 4, "[tensor] expected a map (N, C, H, W), got {}", shape().string());
  return layout_of(shape(), channel_block());
}

int64_t Tensor::stored_elements() const {
  return channel_block() == 1 ? numel() : map_layout().size();
}

void* Tensor::raw() {
  check(defined(), "[tensor] used before it was given a value");
  return impl_->storage->bytes() + impl_->offset;
}
const void* Tensor::raw() const {
  return const_cast<Tensor*>(this)->raw();
}

template <typename T>
T* Tensor::data() {
  check(dtype() == dtype_of<T>(), "[tensor] expected {} elements, found {}", name_of(dtype_of<T>()),
        name_of(dtype()));
  return static_cast<T*>(raw());
}
template <typename T>
const T* Tensor::data() const {
  return const_cast<Tensor*>(this)->data<T>();
}
#define FRCNN_INSTANTIATE(T)     \
  template T* Tensor::data<T>(); \
  template const T* Tensor::data<T>() const;
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
FRCNN_INSTANTIATE(int32_t)
FRCNN_INSTANTIATE(int64_t)
FRCNN_INSTANTIATE(uint8_t)
FRCNN_INSTANTIATE(int8_t)
FRCNN_INSTANTIATE(kernels::Bfloat16)
#undef FRCNN_INSTANTIATE

Tensor Tensor::view(const Shape& new_shape) const {
  check(new_shape.numel() == numel(), "[view] {} does not hold as many elements as {}",
        new_shape.string(), shape().string());
  const bool row_major =
      channel_block() == 1 || channel_block() == dim(1) || (dim(2) == 1 && dim(3) == 1);
  // A channels-last map may be seen as a plain (N, H, W, C) array: the caller names that shape.
  check(row_major && stored_elements() == numel(),
        "[view] {} with channel block {} is not plain row-major; convert it with to_block(1)",
        shape().string(), channel_block());
  auto impl = std::make_shared<TensorImpl>();
  impl->storage = impl_->storage;
  impl->offset = impl_->offset;
  impl->shape = new_shape;
  impl->dtype = impl_->dtype;
  return TensorImpl::handle(std::move(impl));
}

Tensor Tensor::rows(int64_t begin, int64_t count) const {
  check(rank() >= 1 && begin >= 0 && count >= 0 && begin + count <= dim(0),
        "[rows] rows {} to {} do not exist in {}", begin, begin + count, shape().string());
  const int64_t row = dim(0) ? stored_elements() / dim(0) : 0;
  auto impl = std::make_shared<TensorImpl>();
  impl->storage = impl_->storage;
  impl->offset = impl_->offset + static_cast<size_t>(begin * row) * size_of(dtype());
  std::vector<int64_t> dims(shape().dims().begin(), shape().dims().end());
  dims[0] = count;
  impl->shape = Shape(std::move(dims));
  impl->dtype = impl_->dtype;
  impl->block = impl_->block;
  return TensorImpl::handle(std::move(impl));
}

void Tensor::move_into(const Tensor& place) {
  Tensor target = place;
  target.copy_from(*this);
  impl_->storage = place.impl_->storage;
  impl_->offset = place.impl_->offset;
  impl_->block = place.impl_->block;
}

bool Tensor::requires_grad() const {
  return defined() && impl_->requires_grad;
}
Tensor& Tensor::set_requires_grad(bool value) {
  check(defined(), "[tensor] used before it was given a value");
  impl_->requires_grad = value;
  return *this;
}
Tensor Tensor::grad() const {
  return defined() ? impl_->grad : Tensor();
}
void Tensor::set_grad(Tensor grad) {
  if (grad.defined())
    check(grad.shape() == shape() && grad.dtype() == dtype(), "[grad] expected {} {}, got {} {}",
          name_of(dtype()), shape().string(), name_of(grad.dtype()), grad.shape().string());
  impl_->grad = std::move(grad);
}
void Tensor::reset_grad() {
  impl_->grad_reset = true;
}
bool Tensor::grad_is_reset() const {
  return impl_->grad_reset;
}
void Tensor::mark_grad_written() {
  impl_->grad_reset = false;
}
uint64_t Tensor::id() const {
  return defined() ? impl_->id : 0;
}
uint64_t Tensor::version() const {
  return impl_->storage->version.load();
}
void Tensor::bump_version() {
  ++impl_->storage->version;
}

}  // namespace frcnn
