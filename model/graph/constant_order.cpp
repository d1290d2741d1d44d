#include "model/graph/constant_order.h"

#include <cstdlib>
#include <numeric>

namespace frcnn::folding {
namespace {

/// Picks elements of x: element i of the result is x[sum of coordinate * step + begin].
Tensor pick(const Tensor& x, const Dims& dims, const Dims& steps, int64_t begin) {
  Tensor out = Tensor::empty(Shape(dims), x.dtype());
  return with_type(x.dtype(), [&](auto t) {
    using T = decltype(t);
    const T* from = x.data<T>();
    T* to = out.data<T>();
    Dims at(dims.size(), 0);
    int64_t place = begin;
    for (int64_t i = 0; i < out.numel(); ++i) {
      to[i] = from[place];
      for (size_t d = dims.size(); d-- > 0;) {  // the next coordinate, last dimension first
        place += steps[d];
        if (++at[d] < dims[d]) break;
        place -= steps[d] * dims[d];
        at[d] = 0;
      }
    }
    return out;
  });
}

Dims strides_of(const Dims& dims) {
  Dims strides(dims.size(), 1);
  for (size_t d = dims.size(); d-- > 1;) strides[d - 1] = strides[d] * dims[d];
  return strides;
}

}  // namespace

Result transpose(const OnnxNode& node, const Inputs& in) {
  const Dims old = dims_of(in.at(0)), strides = strides_of(old);
  Dims order = node.integers("perm");
  if (order.empty()) {
    order.resize(old.size());
    std::iota(order.rbegin(), order.rend(), 0);
  }
  const auto sorted = axes_within(order, old.size());
  if (!sorted || order.size() != old.size()) return std::nullopt;
  Dims dims, steps;
  for (const int64_t axis : order) {
    if (axis < 0) return std::nullopt;
    dims.push_back(old[static_cast<size_t>(axis)]);
    steps.push_back(strides[static_cast<size_t>(axis)]);
  }
  return pick(in[0], dims, steps, 0);
}

Result concat(const OnnxNode&, const Inputs& in) {
  int64_t count = 0;
  for (const Tensor& part : in) {
    if (!part || part.rank() != 1 || part.dtype() != in[0].dtype()) return std::nullopt;
    count += part.numel();
  }
  Tensor out = Tensor::empty({count}, in.at(0).dtype());
  return with_type(out.dtype(), [&](auto t) {
    using T = decltype(t);
    T* to = out.data<T>();
    for (const Tensor& part : in) to = std::copy_n(part.data<T>(), part.numel(), to);
    return out;
  });
}

Result gather(const OnnxNode& node, const Inputs& in) {
  if (in.size() != 2 || in[0].rank() != 1 || node.integer("axis", 0) != 0 ||
      in[1].dtype() != DType::i64)
    return std::nullopt;
  Dims places = integers_of(in[1]);
  for (int64_t& place : places) {
    if (place < 0) place += in[0].numel();
    if (place < 0 || place >= in[0].numel()) return std::nullopt;
  }
  Tensor out = Tensor::empty(in[1].shape(), in[0].dtype());
  return with_type(out.dtype(), [&](auto t) {
    using T = decltype(t);
    for (size_t i = 0; i < places.size(); ++i) out.data<T>()[i] = in[0].data<T>()[places[i]];
    return out;
  });
}

Result slice(const OnnxNode& node, const Inputs& in) {
  const Dims old = dims_of(in.at(0)), strides = strides_of(old);
  const auto list = [&](const char* key, size_t place) {
    if (node.has(key)) return node.integers(key);
    return in.size() > place && in[place] && in[place].dtype() == DType::i64
               ? integers_of(in[place])
               : Dims{};
  };
  const Dims starts = list("starts", 1), ends = list("ends", 2);
  Dims axes = list("axes", 3), steps = list("steps", 4);
  if (axes.empty())
    for (size_t i = 0; i < starts.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  if (steps.empty()) steps.assign(starts.size(), 1);
  if (starts.size() != ends.size() || axes.size() != starts.size() || steps.size() != starts.size())
    return std::nullopt;
  Dims dims = old, jumps = strides;
  int64_t begin = 0;
  for (size_t i = 0; i < starts.size(); ++i) {
    const auto axis = axes_within({axes[i]}, old.size());
    const int64_t step = steps[i];
    if (!axis || step == 0 || step < -kMostElements || step > kMostElements) return std::nullopt;
    const auto d = static_cast<size_t>((*axis)[0]);
    const int64_t size = old[d];
    const auto from_end = [&](int64_t at) { return at < 0 && at >= -size ? at + size : at; };
    // Backwards, the end before the first element is -1, which is also what is below -size.
    const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
    const int64_t first = std::clamp<int64_t>(from_end(starts[i]), step > 0 ? 0 : low, high);
    const int64_t last = std::clamp<int64_t>(from_end(ends[i]), low, high);
    const int64_t span = step > 0 ? last - first : first - last;
    dims[d] = std::max<int64_t>(0, (span + std::abs(step) - 1) / std::abs(step));
    jumps[d] = strides[d] * step;
    begin += first * strides[d];
  }
  if (product(dims) == 0) return Tensor::empty(Shape(dims), in[0].dtype());
  return pick(in[0], dims, jumps, begin);
}

}  // namespace frcnn::folding
