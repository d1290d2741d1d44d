#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor.h"

namespace frcnn {

// A network in ONNX (Open Neural Network Exchange, github.com/onnx/onnx, docs/IR.md) as plain data:
// what model/graph needs to make a network of this program from it.

/// A named constant of a node. Only the member that `kind` tells holds something.
struct OnnxAttribute {
  enum class Kind : uint8_t {
    number,
    integer,
    text,
    tensor,
    numbers,
    integers,
    other  ///< subgraphs, lists of texts and tensors, types: nothing here needs them
  };
  Kind kind = Kind::other;
  double number = 0;
  int64_t integer = 0;
  std::string text;
  Tensor tensor;  ///< f32 or i64
  std::vector<double> numbers;
  std::vector<int64_t> integers;
};

/// One operation. Inputs and outputs are names of values; an optional one that is left out is "".
struct OnnxNode {
  std::string op_type;  ///< "Conv"
  std::string domain;   ///< "" for the operators of ONNX itself
  std::string name;     ///< may be empty, need not be unique
  std::vector<std::string> inputs, outputs;
  std::map<std::string, OnnxAttribute> attributes;

  /// The attribute, or the default when it is absent; Error when it has another kind.
  int64_t integer(const std::string& key, int64_t otherwise) const;
  double number(const std::string& key, double otherwise) const;
  std::string text(const std::string& key, const std::string& otherwise) const;
  std::vector<int64_t> integers(const std::string& key) const;  ///< empty when absent
  bool has(const std::string& key) const { return attributes.contains(key); }
};

/// A value that the graph takes or gives; a size that the file leaves open is -1.
struct OnnxValue {
  std::string name;
  std::vector<int64_t> dims;
};

struct OnnxGraph {
  std::filesystem::path file;
  std::string producer;  ///< "pytorch 2.1.0"
  int64_t opset = 0;     ///< version of ONNX's own operators
  std::vector<OnnxNode> nodes;
  std::map<std::string, Tensor> initialisers;  ///< f32 (all floating types) or i64 (integers, bool)
  std::vector<OnnxValue> inputs;               ///< initialisers not counted
  std::vector<OnnxValue> outputs;
};

/// Largest files of a graph: what protocol buffers can hold. Weights beside it may be larger.
inline constexpr uint64_t kMostOnnxBytes = (uint64_t{1} << 31) - 1;
inline constexpr int kMostOnnxNodes = 100000;

/// Reads a ModelProto. Weights that the exporter has put into files of their own ("external data")
/// are read from beside `file`; a path that leads elsewhere is refused. Throws Error that names the
/// file and what in it is cut short, damaged or of a kind that is not supported: sparse tensors,
/// texts, complex numbers, 4-bit and 8-bit floats, unsigned integers above 8 bits.
OnnxGraph read_onnx(const std::filesystem::path& file);
/// The same from memory, for tests; `name` stands for the file. No external data.
OnnxGraph parse_onnx(std::string_view bytes, const std::string& name);

}  // namespace frcnn
