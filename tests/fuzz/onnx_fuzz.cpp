#include "kernels/launch/check.h"
#include "model/graph/import_onnx.h"
#include "tests/fuzz/fuzz_file.h"
#include "weights/formats.h"

/// The initialisers as a file of weights, and the graph as a network: surveyed, cut at the default
/// and at every output, written as JSON and read again.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace frcnn;
  fuzz::read_file(data, size, open_onnx_weights);
  try {
    const OnnxGraph graph = parse_onnx({reinterpret_cast<const char*>(data), size}, "fuzz.onnx");
    std::vector<std::string> cuts = {survey_onnx(graph).chosen};
    for (const OnnxValue& output : graph.outputs)
      if (cuts.size() < 4) cuts.push_back(output.name);
    for (const std::string& cut : cuts) {
      try {
        const Network network = import_onnx(graph, cut).network;
        network_from_json(to_json(network), "fuzz.onnx");
        network.sizes(64, 96);
      } catch (const Error&) {
        continue;
      }
    }
  } catch (const Error&) {
    return 0;
  }
  return 0;
}
