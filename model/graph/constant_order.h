#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "model/graph/constant_folding.h"

// Parts of constant folding: operations that put the elements of arrays into another order. Each
// gives nullopt for inputs that it does not fit.
namespace frcnn::folding {

using Dims = std::vector<int64_t>;
using Inputs = std::vector<Tensor>;
using Result = std::optional<Tensor>;

/// A hostile file could ask for any size; no network computes larger constants.
inline constexpr int64_t kMostElements = int64_t{1} << 28;

inline Dims dims_of(const Tensor& x) {
  return {x.shape().dims().begin(), x.shape().dims().end()};
}

inline int64_t product(const Dims& dims) {
  int64_t count = 1;
  for (const int64_t size : dims) {
    if (size < 0 || (size > 0 && count > kMostElements / size)) return -1;
    count *= size;
  }
  return count;
}

template <typename Body>
Tensor with_type(DType dtype, const Body& body) {
  return dtype == DType::i64 ? body(int64_t{}) : body(float{});
}

/// Indices counted from the end made positive; nullopt when outside.
inline std::optional<Dims> axes_within(Dims axes, size_t rank) {
  for (int64_t& axis : axes) {
    if (axis < 0) axis += static_cast<int64_t>(rank);
    if (axis < 0 || axis >= static_cast<int64_t>(rank)) return std::nullopt;
  }
  std::sort(axes.begin(), axes.end());
  if (std::adjacent_find(axes.begin(), axes.end()) != axes.end()) return std::nullopt;
  return axes;
}

Result transpose(const OnnxNode& node, const Inputs& in);
/// Of lists only, which is what shapes and paddings are.
Result concat(const OnnxNode& node, const Inputs& in);
/// From a list.
Result gather(const OnnxNode& node, const Inputs& in);
Result slice(const OnnxNode& node, const Inputs& in);

}  // namespace frcnn::folding
