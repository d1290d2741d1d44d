#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/parameters.h"
#include "weights/onnx/onnx_writer.h"

// Parts of model/export_onnx.cpp: an OnnxWriter with the shorthands that a detector's graph needs.
namespace frcnn::onnx_export {

/// Name of a value of the graph.
using Value = std::string;

class Graph {
 public:
  explicit Graph(OnnxWriter& writer) : writer_(writer) {}

  /// Names of nodes begin with it from now on: "proposals/scores".
  void enter(const std::string& scope) { scope_ = scope + "/"; }
  Value op(const std::string& type, const std::string& name, const std::vector<Value>& inputs,
           const OnnxAttributes& attributes = {}) {
    return writer_.node(type, scope_ + name, inputs, attributes);
  }
  /// A node whose output is one of the graph's own.
  void result(const Value& output, const std::string& type, const std::vector<Value>& inputs) {
    writer_.node_to({output}, type, scope_ + output, inputs);
  }

  // Constants, named after their values and made once: a number, and a list.
  Value f32(double value) { return make(dtype_of<float>(), {value}, /*list=*/false); }
  Value f64(double value) { return make(dtype_of<double>(), {value}, false); }
  Value i64(int64_t value) {
    return make(dtype_of<int64_t>(), {static_cast<double>(value)}, false);
  }
  Value f32s(const std::vector<double>& values) { return make(dtype_of<float>(), values, true); }
  Value f64s(const std::vector<double>& values) { return make(dtype_of<double>(), values, true); }
  Value i64s(const std::vector<int64_t>& values) {
    return make(dtype_of<int64_t>(), std::vector<double>(values.begin(), values.end()), true);
  }
  /// A constant of the current scope.
  Value array(const std::string& name, const Tensor& values) {
    return writer_.constant(scope_ + name, values);
  }
  /// A parameter of the model under its own name; Error when there is none.
  Value parameter(const Parameters& parameters, const std::string& name);

  Value cast(const std::string& name, const Value& x, OnnxType type);
  /// Elements [begin, end) of an axis.
  Value slice(const std::string& name, const Value& x, int64_t axis, int64_t begin, int64_t end);
  /// Row (element) `index` of the first or another axis, which vanishes.
  Value pick(const std::string& name, const Value& x, int64_t index, int64_t axis = 0) {
    return op("Gather", name, {x, i64(index)}, {{"axis", axis}});
  }
  Value rows(const std::string& name, const Value& x, const Value& indices) {
    return op("Gather", name, {x, indices}, {{"axis", int64_t{0}}});
  }
  /// Number of rows, i64 (1).
  Value count(const std::string& name, const Value& x) {
    return slice(name, op("Shape", name + "/shape", {x}), 0, 0, 1);
  }
  /// Positions of the true values of a list, rising.
  Value where_true(const std::string& name, const Value& mask) {
    return op("Reshape", name, {op("NonZero", name + "/nonzero", {mask}), i64s({-1})});
  }
  /// Positions of the `most` (all: nullopt) highest of a list, best first, of equals the first
  /// first.
  Value best(const std::string& name, const Value& scores, std::optional<int64_t> most);
  /// n, n - 1, ..., 1 as f32 for a list of n: scores that only tell the order, without ties.
  Value ranks(const std::string& name, const Value& list);

 private:
  Value make(DType type, const std::vector<double>& values, bool list);

  OnnxWriter& writer_;
  std::string scope_;
};

/// The largest float that is not above a limit: x > limit as real numbers is x > this for floats.
double float_limit(double limit);

}  // namespace frcnn::onnx_export
