#pragma once

#include <optional>
#include <vector>

#include "weights/onnx/onnx_graph.h"

namespace frcnn {

/// The result of a node whose inputs are all known: exporters compute shapes, paddings, transposed
/// kernels and the like in the graph itself. Tensors are f32 or i64, as in OnnxGraph; an undefined
/// input is an optional one that is left out. nullopt for an operation that this does not know or
/// whose inputs it does not fit: such a node is then unsupported, which only matters where a
/// network needs it.
///
/// Known: Constant, ConstantOfShape, Identity, Cast, CastLike, Expand (of one number), Shape,
/// Unsqueeze, Squeeze, Reshape, Transpose, Concat, Gather (along the first axis of a list), Slice,
/// Add, Sub, Mul, Div, Sqrt.
std::optional<Tensor> fold_constant(const OnnxNode& node, const std::vector<Tensor>& inputs);

/// Whether fold_constant() knows the operation.
bool folds(const std::string& op_type);

/// Helpers for attributes that newer operators take as inputs.
std::vector<int64_t> integers_of(const Tensor& tensor);
std::vector<double> numbers_of(const Tensor& tensor);

}  // namespace frcnn
