#include "model/graph/constant_folding.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>

#include "kernels/launch/check.h"
#include "model/graph/constant_order.h"

namespace frcnn {
namespace {

using namespace folding;  // NOLINT: the other half of this file

/// x with another shape; nullopt when the sizes disagree.
Result shaped(const Tensor& x, const Dims& dims) {
  if (product(dims) != x.numel()) return std::nullopt;
  return x.view(Shape(dims));
}

/// Axes stand in an attribute, since opset 13 in the second input.
std::optional<Dims> axes_of(const OnnxNode& node, const Inputs& in) {
  if (node.has("axes")) return node.integers("axes");
  if (in.size() > 1 && in[1] && in[1].dtype() == DType::i64) return integers_of(in[1]);
  return std::nullopt;
}

Result constant(const OnnxNode& node, const Inputs&) {
  if (node.has("value_float"))
    return Tensor::from<float>({}, std::vector{float(node.number("value_float", 0))});
  if (node.has("value_int"))
    return Tensor::from<int64_t>({}, std::vector{node.integer("value_int", 0)});
  if (node.has("value_ints")) {
    const Dims values = node.integers("value_ints");
    return Tensor::from({static_cast<int64_t>(values.size())}, values);
  }
  const auto value = node.attributes.find("value");
  if (value == node.attributes.end() || !value->second.tensor) return std::nullopt;
  return value->second.tensor;
}

Result constant_of_shape(const OnnxNode& node, const Inputs& in) {
  if (in.size() != 1 || in[0].dtype() != DType::i64) return std::nullopt;
  const Dims dims = integers_of(in[0]);
  if (product(dims) < 0 || dims.size() > 8) return std::nullopt;
  const auto value = node.attributes.find("value");
  if (value == node.attributes.end()) return Tensor::zeros(Shape(dims));
  if (!value->second.tensor || value->second.tensor.numel() != 1) return std::nullopt;
  Tensor out = Tensor::empty(Shape(dims), value->second.tensor.dtype());
  out.fill(value->second.tensor.item());
  return out;
}

Result identity(const OnnxNode&, const Inputs& in) {
  return in.at(0);
}

Result cast(const OnnxNode& node, const Inputs& in) {
  // Numbers of ONNX's types: 1 float, 10 float16, 11 double, 16 bfloat16; integers and bool.
  const int64_t to = node.integer("to", 0);
  const bool integer = (to >= 2 && to <= 7) || to == 9 || to == 12 || to == 13;
  const bool floating = to == 1 || to == 10 || to == 11 || to == 16;
  if (!integer && !floating) return std::nullopt;
  const Tensor& x = in.at(0);
  if (integer == (x.dtype() == DType::i64)) return x;
  Tensor out = Tensor::empty(x.shape(), integer ? DType::i64 : DType::f32);
  for (int64_t i = 0; i < x.numel(); ++i) {
    if (floating) {
      out.data<float>()[i] = static_cast<float>(x.data<int64_t>()[i]);
      continue;
    }
    const float value = x.data<float>()[i];
    if (!(std::abs(value) < 9e18f)) return std::nullopt;
    out.data<int64_t>()[i] = static_cast<int64_t>(value);
  }
  return out;
}

Result cast_like(const OnnxNode&, const Inputs& in) {
  OnnxNode as_cast;
  as_cast.attributes["to"].kind = OnnxAttribute::Kind::integer;
  as_cast.attributes["to"].integer = in.at(1).dtype() == DType::i64 ? 7 : 1;
  return cast(as_cast, in);
}

/// One number spread over a shape, or an array that has it already.
Result expand(const OnnxNode&, const Inputs& in) {
  if (in.size() != 2 || in[1].dtype() != DType::i64) return std::nullopt;
  const Dims dims = integers_of(in[1]);
  if (product(dims) < 0 || dims.size() > 8) return std::nullopt;
  if (dims == dims_of(in[0])) return in[0];
  if (in[0].numel() != 1 || in[0].rank() > static_cast<int>(dims.size())) return std::nullopt;
  Tensor out = Tensor::empty(Shape(dims), in[0].dtype());
  return with_type(out.dtype(), [&](auto t) {
    using T = decltype(t);
    std::fill_n(out.data<T>(), out.numel(), in[0].data<T>()[0]);
    return out;
  });
}

Result shape(const OnnxNode& node, const Inputs& in) {
  const Dims all = dims_of(in.at(0));
  const auto rank = static_cast<int64_t>(all.size());
  const auto place = [&](int64_t at) {
    return std::clamp<int64_t>(at < 0 ? at + rank : at, 0, rank);
  };
  const int64_t first = place(node.integer("start", 0)), last = place(node.integer("end", rank));
  const Dims dims(all.begin() + first, all.begin() + std::max(first, last));
  return Tensor::from({static_cast<int64_t>(dims.size())}, dims);
}

Result unsqueeze(const OnnxNode& node, const Inputs& in) {
  const auto given = axes_of(node, in);
  if (!given || given->size() > 8) return std::nullopt;
  Dims dims = dims_of(in.at(0));
  const auto axes = axes_within(*given, dims.size() + given->size());
  if (!axes) return std::nullopt;
  for (const int64_t axis : *axes) dims.insert(dims.begin() + axis, 1);
  return shaped(in[0], dims);
}

Result squeeze(const OnnxNode& node, const Inputs& in) {
  const Dims old = dims_of(in.at(0));
  Dims drop, dims;
  if (const auto given = axes_of(node, in)) {
    const auto axes = axes_within(*given, old.size());
    if (!axes) return std::nullopt;
    drop = *axes;
  } else {
    for (size_t i = 0; i < old.size(); ++i)
      if (old[i] == 1) drop.push_back(static_cast<int64_t>(i));
  }
  for (size_t i = 0; i < old.size(); ++i)
    if (std::find(drop.begin(), drop.end(), static_cast<int64_t>(i)) == drop.end())
      dims.push_back(old[i]);
  return shaped(in[0], dims);
}

Result reshape(const OnnxNode& node, const Inputs& in) {
  if (in.size() != 2 || in[1].dtype() != DType::i64) return std::nullopt;
  const Dims old = dims_of(in[0]);
  Dims dims = integers_of(in[1]);
  if (dims.size() > 8) return std::nullopt;
  const bool keep_zero = node.integer("allowzero", 0) != 0;
  int64_t known = 1;
  int open = -1;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 0 && !keep_zero) {
      if (i >= old.size()) return std::nullopt;
      dims[i] = old[i];
    }
    if (dims[i] == -1 && open < 0)
      open = static_cast<int>(i);
    else if (dims[i] < 0 || (dims[i] > 0 && known > kMostElements / dims[i]))
      return std::nullopt;
    else
      known *= dims[i];
  }
  if (open >= 0) {
    if (known == 0 || in[0].numel() % known != 0) return std::nullopt;
    dims[static_cast<size_t>(open)] = in[0].numel() / known;
  }
  return shaped(in[0], dims);
}

/// Element by element; one side may be a single number.
template <typename Operation>
Result arithmetic(const Inputs& in, const Operation& operation) {
  if (in.size() != 2 || in[0].dtype() != in[1].dtype()) return std::nullopt;
  const bool spread_a = in[0].numel() == 1, spread_b = in[1].numel() == 1;
  if (!spread_a && !spread_b && in[0].shape() != in[1].shape()) return std::nullopt;
  const bool a_is_shape = !spread_a || (spread_b && in[0].rank() >= in[1].rank());
  Tensor out = Tensor::empty(a_is_shape ? in[0].shape() : in[1].shape(), in[0].dtype());
  bool defined = true;
  with_type(out.dtype(), [&](auto t) {
    using T = decltype(t);
    const T *a = in[0].data<T>(), *b = in[1].data<T>();
    for (int64_t i = 0; i < out.numel(); ++i)
      defined &= operation(a[spread_a ? 0 : i], b[spread_b ? 0 : i], out.data<T>()[i]);
    return out;
  });
  return defined ? Result(out) : std::nullopt;
}

/// Each gives false where the result does not exist.
struct Arithmetic {
  static bool add(int64_t a, int64_t b, int64_t& out) {
    return !__builtin_add_overflow(a, b, &out);
  }
  static bool subtract(int64_t a, int64_t b, int64_t& out) {
    return !__builtin_sub_overflow(a, b, &out);
  }
  static bool multiply(int64_t a, int64_t b, int64_t& out) {
    return !__builtin_mul_overflow(a, b, &out);
  }
  static bool divide(int64_t a, int64_t b, int64_t& out) {
    if (b == 0 || b == -1) {
      out = 0;
      return b == -1 && subtract(0, a, out);
    }
    out = a / b;
    return true;
  }
  static bool add(float a, float b, float& out) { return out = a + b, true; }
  static bool subtract(float a, float b, float& out) { return out = a - b, true; }
  static bool multiply(float a, float b, float& out) { return out = a * b, true; }
  static bool divide(float a, float b, float& out) { return out = a / b, true; }
};

Result square_root(const OnnxNode&, const Inputs& in) {
  if (in.size() != 1 || in[0].dtype() != DType::f32) return std::nullopt;
  Tensor out = in[0].clone();
  for (float& value : out.span<float>()) value = std::sqrt(value);
  return out;
}

#define ARITHMETIC(name)                                                                          \
  [](const OnnxNode&, const Inputs& in) {                                                         \
    return arithmetic(in, [](auto a, auto b, auto& out) { return Arithmetic::name(a, b, out); }); \
  }

using Fold = std::function<Result(const OnnxNode&, const Inputs&)>;
const std::map<std::string, Fold>& all_folds() {
  static const std::map<std::string, Fold> all = {{"Constant", constant},
                                                  {"ConstantOfShape", constant_of_shape},
                                                  {"Identity", identity},
                                                  {"Cast", cast},
                                                  {"CastLike", cast_like},
                                                  {"Expand", expand},
                                                  {"Shape", shape},
                                                  {"Unsqueeze", unsqueeze},
                                                  {"Squeeze", squeeze},
                                                  {"Reshape", reshape},
                                                  {"Transpose", transpose},
                                                  {"Concat", concat},
                                                  {"Gather", gather},
                                                  {"Slice", slice},
                                                  {"Add", ARITHMETIC(add)},
                                                  {"Sub", ARITHMETIC(subtract)},
                                                  {"Mul", ARITHMETIC(multiply)},
                                                  {"Div", ARITHMETIC(divide)},
                                                  {"Sqrt", square_root}};
  return all;
}

}  // namespace

std::vector<int64_t> integers_of(const Tensor& tensor) {
  return tensor.to_vector<int64_t>();
}

std::vector<double> numbers_of(const Tensor& tensor) {
  std::vector<double> out;
  if (tensor.dtype() == DType::i64) {
    for (const int64_t value : tensor.to_vector<int64_t>())
      out.push_back(static_cast<double>(value));
  } else {
    for (const float value : tensor.to_vector<float>()) out.push_back(static_cast<double>(value));
  }
  return out;
}

bool folds(const std::string& op_type) {
  return all_folds().contains(op_type);
}

std::optional<Tensor> fold_constant(const OnnxNode& node, const Inputs& inputs) {
  const auto fold = all_folds().find(node.op_type);
  if (fold == all_folds().end() || !node.domain.empty()) return std::nullopt;
  // Only Slice has optional inputs between others.
  const bool some_missing = std::any_of(inputs.begin(), inputs.end(),
                                        [](const Tensor& input) { return !input.defined(); });
  if (node.op_type != "Constant" && (inputs.empty() || !inputs[0])) return std::nullopt;
  if (some_missing && node.op_type != "Slice") return std::nullopt;
  return fold->second(node, inputs);
}

}  // namespace frcnn
