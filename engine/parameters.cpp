#include "engine/parameters.h"

#include "engine/dispatch.h"
#include "engine/memory.h"
#include "engine/reduced_layer.h"
#include "kernels/random/init.h"

namespace frcnn {
namespace {

/// FNV-1a: a number that depends on the name only, so that adding a layer leaves the others'
/// numbers.
uint64_t hash(const std::string& name) {
  uint64_t h = 14695981039346656037u;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return h;
}

}  // namespace

void Initializer::fill(Tensor& weight, const kernels::RandomKey& key) const {
  const int64_t count = weight.numel();
  const int64_t fan_in = weight.rank() > 1 ? count / std::max<int64_t>(1, weight.dim(0)) : count;
  const int64_t fan_out = weight.rank() > 1 ? count / std::max<int64_t>(1, weight.dim(1)) : count;
  with_float(weight.dtype(), "init", [&](auto t) {
    using T = decltype(t);
    T* w = weight.data<T>();
    switch (method) {
      case Method::zero:
        return weight.fill(0);
      case Method::one:
        return weight.fill(1);
      case Method::gauss:
        return kernels::cpu::init_normal(count, 0, scale, key, w);
      case Method::uniform:
        return kernels::cpu::init_uniform(count, -scale, scale, key, w);
      case Method::xavier:
        return kernels::cpu::init_xavier(count, fan_in, fan_out, key, w);
      case Method::he:
        return kernels::cpu::init_he(count, fan_in, key, w);
    }
  });
}

Tensor Parameters::create(const std::string& name, const Shape& shape, ParameterKind kind,
                          const Initializer& initializer) {
  check(!find(name), "[parameters] the name {} is used twice", name);
  const MemoryPurposeScope purpose(MemoryPurpose::weights);
  Tensor tensor = Tensor::empty(shape, dtype_, device_);
  if (fill_) {  // by the CPU for every device: the same numbers, once in a program's life
    Tensor values = device_.is_gpu() ? Tensor::empty(shape, dtype_) : tensor;
    initializer.fill(values, {seed_, kernels::kStreamInit, hash(name)});
    if (device_.is_gpu()) tensor.copy_from(values);
  }
  tensor.set_requires_grad(kind != ParameterKind::buffer);
  all_.push_back({name, tensor, kind});
  return tensor;
}

const Parameter* Parameters::find(const std::string& name) const {
  for (const Parameter& p : all_)
    if (p.name == name) return &p;
  return nullptr;
}

std::shared_ptr<ReducedLayer> Parameters::reduced_layer(const std::string& weight) {
  auto& layer = reduced_layers_[weight];
  if (!layer) layer = std::make_shared<ReducedLayer>();
  return layer;
}

void Parameters::set_trainable(const std::string& prefix, bool trainable) {
  for (Parameter& p : all_)
    if (p.kind != ParameterKind::buffer && p.name.starts_with(prefix))
      p.tensor.set_requires_grad(trainable);
}

int64_t Parameters::count(const std::string& prefix) const {
  int64_t total = 0;
  for (const Parameter& p : all_)
    if (p.kind != ParameterKind::buffer && p.name.starts_with(prefix)) total += p.tensor.numel();
  return total;
}

}  // namespace frcnn
