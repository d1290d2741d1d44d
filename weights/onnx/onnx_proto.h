#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>

#include "weights/weight_file.h"

// What onnx_graph.cpp and onnx_weights.cpp share: protocol buffers parsed and looked at with
// suspicion. The generated header (half a megabyte of C++) is included by .cpp files alone.
namespace onnx {
class ModelProto;
class TensorProto;
}  // namespace onnx

namespace frcnn::onnx_proto {

struct DeleteModel {
  void operator()(const onnx::ModelProto* model) const;
};
using Model = std::unique_ptr<onnx::ModelProto, DeleteModel>;

/// Error for a file that is too large, cut short or no ModelProto with a graph.
Model read_model(const std::filesystem::path& file);
Model parse_model(std::string_view bytes, const std::string& name);

/// A stored array with its place, checked: the bytes that the shape asks for are there.
class Array {
 public:
  /// `file`: of the model; `external`: whether data in files beside it may be read.
  Array(const onnx::TensorProto& proto, const std::filesystem::path& file, bool external = true);

  const Shape& shape() const { return shape_; }
  StoredType type() const { return type_; }
  bool is_integer() const { return type_ >= StoredType::i64; }
  int64_t elements() const { return shape_.numel(); }

  /// Elements [first, first + count) converted.
  void read(int64_t first, int64_t count, float* out) const;
  void read(int64_t first, int64_t count, int64_t* out) const;
  /// All of it: f32, or i64 when is_integer().
  Tensor tensor() const;

 private:
  template <typename Out>
  void convert(int64_t first, int64_t count, Out* out) const;
  void find_external(const std::filesystem::path& file);
  void check_inline(int64_t bytes) const;

  const onnx::TensorProto* proto_;
  std::string what_;  // "net.onnx: array \"conv1.weight\""
  StoredType type_ = StoredType::f32;
  Shape shape_;
  std::filesystem::path data_file_;  // external data; empty: within the model
  uint64_t data_offset_ = 0;
};

}  // namespace frcnn::onnx_proto
