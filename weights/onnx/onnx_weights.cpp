#include <onnx/onnx_pb.h>

#include "kernels/launch/check.h"
#include "weights/formats.h"
#include "weights/onnx/onnx_proto.h"

namespace frcnn {
namespace {

/// The initialisers of a graph as a file of weights. Their names are the exporter's: those of the
/// framework's parameters, or numbers where it has merged layers.
class OnnxWeights : public WeightFile {
 public:
  explicit OnnxWeights(const std::filesystem::path& file)
      : WeightFile(file, "ONNX", WeightOrder::torch), model_(onnx_proto::read_model(file)) {
    const onnx::GraphProto& graph = model_->graph();
    check(graph.sparse_initializer_size() == 0,
          "{}: has sparse weights, which are not supported; export dense ones", file.string());
    for (const onnx::TensorProto& proto : graph.initializer()) {
      const onnx_proto::Array& array = arrays_.emplace_back(proto, file);
      add({proto.name(), array.type(), array.shape()});
    }
    if (!model_->producer_name().empty()) metadata_["producer"] = model_->producer_name();
    if (!model_->producer_version().empty())
      metadata_["producer_version"] = model_->producer_version();
    metadata_["nodes"] = std::to_string(graph.node_size());
    for (const auto& opset : model_->opset_import())
      if (opset.domain().empty()) metadata_["opset"] = std::to_string(opset.version());
  }

  void read_rows(const WeightEntry& entry, int64_t first, int64_t count,
                 float* out) const override {
    const WeightEntry* known = find(entry.name);
    check(known != nullptr, "{}: holds no array \"{}\"", path().string(), entry.name);
    const auto index = static_cast<size_t>(known - entries().data());
    const int64_t rows = known->shape.rank() == 0 ? 1 : known->shape[0];
    check(first >= 0 && count >= 0 && first <= rows - count,
          "{}: array \"{}\" has {} rows, asked for {} from {} on", path().string(), entry.name,
          rows, count, first);
    if (rows == 0) return;
    const int64_t row = known->shape.numel() / rows;
    arrays_[index].read(first * row, count * row, out);
  }

 private:
  onnx_proto::Model model_;
  std::vector<onnx_proto::Array> arrays_;  // in the order of entries()
};

}  // namespace

std::unique_ptr<WeightFile> open_onnx_weights(const std::filesystem::path& file) {
  return std::make_unique<OnnxWeights>(file);
}

}  // namespace frcnn
