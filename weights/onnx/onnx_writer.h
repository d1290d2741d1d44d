#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/tensor.h"

namespace frcnn {

/// Element type of a value that an ONNX graph takes or gives.
enum class OnnxType : uint8_t { f32, f64, i64, u8 };

/// One size of such a value: a number, or a name for a size that is known only when the graph runs.
using OnnxSize = std::variant<int64_t, std::string>;

/// Value of an attribute: FLOAT, INT, STRING or INTS.
using OnnxAttributeValue = std::variant<double, int64_t, std::string, std::vector<int64_t>>;
using OnnxAttributes = std::vector<std::pair<std::string, OnnxAttributeValue>>;

/// Makes an ONNX model (github.com/onnx/onnx, docs/IR.md) node by node. Nodes run in the order in
/// which they are added, which must be one in which every value is made before it is used. The same
/// calls give the same bytes.
class OnnxWriter {
 public:
  /// `name` of the graph; `opset`: version of ONNX's own operators, the only ones there are here.
  OnnxWriter(const std::string& name, int64_t opset, const std::string& producer,
             const std::string& producer_version);
  ~OnnxWriter();
  OnnxWriter(OnnxWriter&&) noexcept;
  OnnxWriter& operator=(OnnxWriter&&) noexcept;

  void input(const std::string& name, OnnxType type, const std::vector<OnnxSize>& sizes);
  void output(const std::string& name, OnnxType type, const std::vector<OnnxSize>& sizes);
  /// A constant array: f32, f64, i64 or u8, on any device and in any memory format. Returns `name`.
  /// Throws Error when the name is taken.
  std::string constant(const std::string& name, const Tensor& values);
  bool has(const std::string& name) const;

  /// A node with one output, which has the node's name; returns it. An optional input that is left
  /// out is "". Throws Error when the name is taken or an input has not been made.
  std::string node(const std::string& op, const std::string& name,
                   const std::vector<std::string>& inputs, const OnnxAttributes& attributes = {});
  /// The same with outputs of other names, for nodes that have several or make the graph's own.
  void node_to(const std::vector<std::string>& outputs, const std::string& op,
               const std::string& name, const std::vector<std::string>& inputs,
               const OnnxAttributes& attributes = {});

  /// An entry of the model's metadata_props.
  void metadata(const std::string& key, const std::string& value);
  void description(const std::string& text);

  int64_t nodes() const;
  /// The ModelProto. Throws Error above 2 GiB, which protocol buffers cannot hold.
  std::string bytes() const;
  /// Writes it as a whole or not at all (weights/new_file.h).
  void save(const std::filesystem::path& file) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace frcnn
