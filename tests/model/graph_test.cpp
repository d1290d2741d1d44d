// Networks imported from ONNX against ONNX Runtime (tests/golden/make_onnx.py).
#include <cmath>

#include "engine/tape.h"
#include "tests/model/network_support.h"
#include "tests/support/devices.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

/// The last value of a graph, whatever it is.
std::string whole(const OnnxGraph& graph) {
  return graph.outputs.at(0).name;
}

std::string input_of(const std::string& name) {
  if (name.starts_with("exported/")) return "picture";
  return name == "nodes/channels_last" ? "channels_last_x" : "x";
}

/// How far a network's result is from ONNX Runtime's, relative to the largest value.
double distance(const std::string& name, const std::string& cut, DType dtype, Device device) {
  const RunningNetwork network(import_onnx(onnx_graph(name), cut), dtype, device);
  const Tape::NoGrad inference;
  const Tensor y = network.forward(onnx_array(input_of(name)));
  const Golden<float> expected = golden_f32("onnx", name + "/y");
  INFO(name);
  CHECK(y.shape() == Shape(expected.shape));
  const std::vector<double> values = y.to(DType::f64).to_vector<double>();
  if (values.size() != expected.values.size()) return INFINITY;
  double largest = 0, worst = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double difference = std::abs(values[i] - double{expected.values[i]});
    if (!(difference <= worst)) worst = difference;  // also NaN
    largest = std::max(largest, std::abs(double{expected.values[i]}));
  }
  return worst / largest;
}

/// Nodes (or merged ones) that a network has, as text.
std::string operations(const Network& network) {
  std::string text;
  for (const NetworkNode& node : network.nodes)
    text += std::string(text.empty() ? "" : " ") + name_of(node.op) + (node.relu ? "+relu" : "");
  return text;
}

}  // namespace

TEST_CASE("A2 every kind of node computes what ONNX Runtime computes, whatever its attributes") {
  for (const std::string& name : golden_members("onnx", "nodes")) {
    const std::string node = "nodes/" + name;
    const std::string output = whole(onnx_graph(node));
    for (const DType dtype : {DType::f32, DType::f64}) {
      INFO(name << " " << name_of(dtype));
      CHECK(distance(node, output, dtype, {}) < 3e-6);
    }
    for (const Device device : gpus()) {
      INFO(name << " on " << describe(device));
      CHECK(distance(node, output, DType::f32, device) < 3e-6);
    }
  }
}

TEST_CASE("A2 blocks of networks by both of torch's exporters compute what ONNX Runtime computes") {
  for (const std::string& name : golden_members("onnx", "exported")) {
    const std::string network = "exported/" + name;
    const bool classifier = name.starts_with("mobile");  // with a Softplus behind: cut by default
    const std::string cut = classifier ? "" : whole(onnx_graph(network));
    INFO(name);
    CHECK(distance(network, cut, DType::f32, {}) < 3e-6);
    for (const Device device : gpus()) CHECK(distance(network, cut, DType::f32, device) < 3e-6);
  }
}

TEST_CASE("import: batch norm stays a layer, ReLUs join layers, folded constants vanish") {
  const auto with_norm = onnx_graph("exported/residual_script_norm");
  CHECK(operations(import_onnx(with_norm, whole(with_norm)).network) ==
        "conv batch_norm+relu conv batch_norm conv batch_norm add relu");
  const auto without = onnx_graph("exported/residual_script");
  CHECK(operations(import_onnx(without, whole(without)).network) == "conv+relu conv conv add relu");
  const auto folded = onnx_graph("nodes/folded");
  CHECK(operations(import_onnx(folded, "y").network) == "conv");
  const auto last = onnx_graph("nodes/channels_last");
  CHECK(operations(import_onnx(last, "y").network) == "conv+relu");
  const auto clip = onnx_graph("nodes/clip_is_relu");
  CHECK(operations(import_onnx(clip, "y").network) == "relu");
}

TEST_CASE("import: a ReLU does not join a layer whose own result is used elsewhere") {
  const auto graph = onnx_graph("nodes/preprocessing");
  CHECK(operations(import_onnx(graph, "a").network) == "add_constant");
  // x feeds ReLU and the difference.
  const auto both = onnx_graph("nodes/subtract");
  CHECK(operations(import_onnx(both, "y").network) == "relu subtract");
}

TEST_CASE("import: the default cut is the last map of stride 16 that everything passes through") {
  for (const std::string name : {"exported/mobile_script", "exported/mobile_dynamo"}) {
    const OnnxGraph graph = onnx_graph(name);
    const OnnxSurvey survey = survey_onnx(graph);
    INFO(name);
    REQUIRE_FALSE(survey.chosen.empty());
    const ImportedNetwork imported = import_onnx(graph, "");
    CHECK(imported.network.cut == survey.chosen);
    const NetworkValue map = imported.network.check()[static_cast<size_t>(imported.network.output)];
    CHECK(map.stride_y == 16);
    CHECK(map.channels == 8);
    // 3, then 5, 9, 17 pixels more or less: the recurrence of Araujo et al., Distill 2019.
    CHECK(map.field_y == 3 + 2 * 2 + 2 * 4 + 2 * 8);
    CHECK(operations(imported.network) == "conv clip conv clip conv conv clip conv conv clip conv");
  }
}

TEST_CASE("import: without a map of stride 16 or 32 the candidates are listed") {
  CHECK_THROWS_WITH(import_onnx(onnx_graph("exported/residual_script"), ""),
                    mentions("no map of stride 16 or 32 to cut at") && mentions("stride 2, 8"));
  CHECK_THROWS_WITH(import_onnx(onnx_graph("exported/mobile_script"), "nowhere"),
                    mentions("there is no node or output 'nowhere'") &&
                        mentions("'/features/features.2/Clip' (stride 2, 8 channels)"));
}

TEST_CASE("import: nodes before the cut that cannot be used are listed with their place") {
  const OnnxGraph graph = onnx_graph("exported/mobile_script");
  CHECK_THROWS_WITH(import_onnx(graph, whole(graph)),
                    mentions("1 of the nodes before the cut") &&
                        mentions("node 27 '/head/head.2/Softplus' (Softplus): this operation is "
                                 "not known"));
  // The same graph without its last node is fine, down to the rows of the classifier.
  const ImportedNetwork rows = import_onnx(graph, "/head/head.1/Gemm");
  CHECK_FALSE(rows.network.check()[static_cast<size_t>(rows.network.output)].map);
}

TEST_CASE("network: map sizes are those of the layers for every rounding rule, per axis") {
  for (const std::string& name : golden_members("onnx", "nodes")) {
    const OnnxGraph graph = onnx_graph("nodes/" + name);
    const RunningNetwork network(import_onnx(graph, whole(graph)));
    const Network& net = network.layers.network();
    const auto output = static_cast<size_t>(net.output);
    if (!net.check()[output].map || name == "flat") continue;
    for (const int64_t h : {8, 9, 12})
      for (const int64_t w : {11, 13, 14}) {
        const Tensor y = network.forward(Tensor::zeros({1, net.in_channels, h, w}));
        INFO(name << " " << h << " x " << w);
        CHECK(net.sizes(h, w)[output] == std::array{y.dim(2), y.dim(3)});
      }
  }
}

TEST_CASE("network: strides and receptive fields along the path that sees most") {
  const OnnxGraph graph = onnx_graph("exported/mixed_script");
  const Network network = import_onnx(graph, whole(graph)).network;
  const NetworkValue map = network.check()[static_cast<size_t>(network.output)];
  CHECK(map.stride_y == 4);
  // 3 (stem), + 6 cells of 2 (column of 7), + 2 cells of 2 (pool).
  CHECK(map.field_y == 3 + 6 * 2 + 2 * 2);
  CHECK(map.field_x == 3 + 6 * 2 + 2 * 2);
  const OnnxGraph row = onnx_graph("nodes/conv_7x1");
  const NetworkValue tall = import_onnx(row, "y").network.check().back();
  CHECK(tall.field_y == 7);
  CHECK(tall.field_x == 1);
  CHECK(tall.stride_y == 1);
  CHECK(tall.stride_x == 2);
}

TEST_CASE("network: pictures that are too small are refused by name") {
  const RunningNetwork network(import_onnx(onnx_graph("nodes/conv_valid"), "y"));
  CHECK_THROWS_WITH(network.forward(Tensor::zeros({1, 4, 2, 9})),
                    mentions("nothing is left of a picture of 2 x 9 pixels"));
  CHECK_THROWS_WITH(network.forward(Tensor::zeros({1, 3, 9, 9})),
                    mentions("takes pictures of 4 channels"));
}

TEST_CASE("network: its JSON gives the same network and the same results") {
  for (const std::string group : {"nodes", "exported"})
    for (const std::string& member : golden_members("onnx", group)) {
      const std::string name = group + "/" + member;
      const OnnxGraph graph = onnx_graph(name);
      const bool classifier = member.starts_with("mobile");
      ImportedNetwork imported = import_onnx(graph, classifier ? "" : whole(graph));
      const std::string json = to_json(imported.network);
      const Tensor x = onnx_array(input_of(name));
      const auto before = RunningNetwork(imported).forward(x).to_vector<float>();
      imported.network = network_from_json(json, "test");
      INFO(name);
      CHECK(to_json(imported.network) == json);
      CHECK(RunningNetwork(imported).forward(x).to_vector<float>() == before);
    }
}

TEST_CASE("network: constants that are not finite are refused, for JSON could not keep them") {
  Network network = import_onnx(onnx_graph("nodes/leaky_relu"), "y").network;
  for (const double value : {INFINITY, -INFINITY, NAN}) {
    network.nodes[0].low = value;
    CHECK_THROWS_WITH(network.check(), mentions("has a constant that is not finite"));
  }
}

TEST_CASE("network: damaged or hostile JSON is refused, never run") {
  const std::string good =
      to_json(import_onnx(onnx_graph("exported/mixed_script"), "/Relu").network);
  const auto refused = [](const std::string& text) {
    try {
      network_from_json(text, "model.h5");
    } catch (const Error& error) {
      return std::string(error.what()).starts_with("model.h5: not a ");
    }
    return false;
  };
  for (size_t length = 0; length < good.size(); ++length) CHECK(refused(good.substr(0, length)));
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    REQUIRE(text.find(from) != std::string::npos);
    return text.replace(text.find(from), from.size(), to);
  };
  CHECK(refused(changed("\"inputs\":[0]", "\"inputs\":[7]")));
  CHECK(refused(changed("\"inputs\":[0]", "\"inputs\":[-1]")));
  CHECK(refused(changed("\"inputs\":[0]", "\"inputs\":[]")));
  CHECK(refused(changed("\"channels\":6", "\"channels\":4611686018427387904")));
  CHECK(refused(changed("\"channels\":6", "\"channels\":\"6\"")));
  CHECK(refused(changed("\"kernel\":[3,3]", "\"kernel\":[0,3]")));
  CHECK(refused(changed("\"stride\":[2,2]", "\"stride\":[2]")));
  CHECK(refused(changed("\"op\":\"conv\"", "\"op\":\"exec\"")));
  CHECK(refused(changed("\"output\":1", "\"output\":9")));
  CHECK(refused(changed("\"version\":1", "\"version\":2")));
  CHECK(refused(changed("stem.Conv", "a/b")));
  CHECK(refused("[]"));
}
