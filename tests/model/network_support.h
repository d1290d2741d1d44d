#pragma once

#include <string>
#include <vector>

#include "model/graph/import_onnx.h"
#include "model/graph/network_layers.h"
#include "tests/support/support.h"

namespace frcnn::test {

/// The bytes of a network of tests/golden/onnx.h5 ("nodes/conv", "exported/mixed_script").
inline std::string onnx_bytes(const std::string& name) {
  const std::vector<int64_t> bytes = golden_i64("onnx", name + "/model").values;
  return {bytes.begin(), bytes.end()};
}
inline OnnxGraph onnx_graph(const std::string& name) {
  return parse_onnx(onnx_bytes(name), name + ".onnx");
}

/// An array of tests/golden/onnx.h5.
inline Tensor onnx_array(const std::string& name) {
  const Golden<float> golden = golden_f32("onnx", name);
  return Tensor::from(Shape(golden.shape), golden.values);
}

/// Layers of an imported network with its values.
struct RunningNetwork {
  Parameters parameters;
  NetworkLayers layers;

  explicit RunningNetwork(const ImportedNetwork& imported, DType dtype = DType::f32,
                          Device device = {})
      : parameters(1, dtype, /*fill=*/false, device),
        layers(imported.network, "", Initializer{}, parameters) {
    layers.load(imported.values);
  }
  Tensor forward(const Tensor& images, bool batch_statistics = false) const {
    return layers.forward(images.to(parameters.dtype()).to(parameters.device()), batch_statistics);
  }
};

}  // namespace frcnn::test
