// Structure of exported detectors, read back and checked by ONNX's own library. That they detect
// the same in ONNX Runtime is shown by tests/peers/onnx_export.py.
#include "model/export_onnx.h"

#include <onnx/checker.h>
#include <onnx/onnx_pb.h>
#include <onnx/shape_inference/implementation.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>

#include "model/onnx_export/parts.h"
#include "model/options.h"
#include "tests/model/network_support.h"
#include "tests/support/support.h"
#include "weights/onnx/onnx_graph.h"

namespace frcnn {
namespace {

Config small_config(const std::vector<std::string>& changes = {}) {
  return parse_config(R"(
[preprocess]
channels = "rgb"
mean = [10, 20, 30]
stddev = [4, 5, 6]
shorter_side = 64
longer_side = 96
pad_multiple = 8
[backbone]
name = "tiny"
frozen_until = ""
batch_norm = false
tiny_channels = [4, 6]
tiny_strides = [2, 2]
[anchors]
sizes = [8.0, 16.0]
[rpn]
channels = 6
test = { pre_nms = 50, post_nms = 20, nms_iou = 0.7, min_size = 2.0 }
[roi]
layer = "roi_align"
pooled_height = 2
pooled_width = 3
hidden = [7, 9]
)",
                      "small", changes);
}

const std::vector<std::string> kClasses = {"cat", "dog", "a \"quoted\" name"};

OnnxWriter exported(const Config& config, int64_t height = 0, int64_t width = 0) {
  const FasterRcnn model(config.model, static_cast<int64_t>(kClasses.size()));
  return onnx_model(model, config, kClasses, {height, width, "1.2.3"});
}

/// ONNX's own library accepts the model, and infers types and shapes without a contradiction.
onnx::ModelProto checked(const OnnxWriter& writer) {
  onnx::ModelProto model;
  REQUIRE(model.ParseFromString(writer.bytes()));
  onnx::checker::check_model(model);
  onnx::ShapeInferenceOptions options;
  options.check_type = true;
  options.error_mode = 1;  // an inference that fails is an error
  onnx::shape_inference::InferShapes(model, onnx::OpSchemaRegistry::Instance(), options);
  onnx::checker::check_model(model);
  return model;
}

std::map<std::string, int> count_operators(const OnnxGraph& graph) {
  std::map<std::string, int> counts;
  for (const OnnxNode& node : graph.nodes) ++counts[node.op_type];
  return counts;
}

const OnnxNode& find(const OnnxGraph& graph, const std::string& op) {
  const auto at = std::find_if(graph.nodes.begin(), graph.nodes.end(),
                               [&](const OnnxNode& node) { return node.op_type == op; });
  INFO(op);
  REQUIRE(at != graph.nodes.end());
  return *at;
}

/// Sizes of a value as ONNX's shape inference found them; -1 where it left one open.
std::vector<int64_t> inferred(const onnx::ModelProto& model, const std::string& name) {
  for (const auto& info : model.graph().value_info())
    if (info.name() == name) {
      std::vector<int64_t> sizes;
      for (const auto& dim : info.type().tensor_type().shape().dim())
        sizes.push_back(dim.has_dim_value() ? dim.dim_value() : -1);
      return sizes;
    }
  return {};
}

TEST_CASE("an exported detector has one input, three outputs and all parameters", "[export_onnx]") {
  const Config config = small_config();
  const FasterRcnn model(config.model, 3);
  const OnnxWriter writer = onnx_model(model, config, kClasses, {0, 0, "1.2.3"});
  checked(writer);
  const OnnxGraph graph = parse_onnx(writer.bytes(), "small.onnx");
  CHECK(graph.opset == kExportOpset);
  CHECK(graph.producer == "frcnn 1.2.3");
  REQUIRE(graph.inputs.size() == 1);
  CHECK(graph.inputs[0].name == "image");
  CHECK(graph.inputs[0].dims == std::vector<int64_t>{1, 3, -1, -1});
  REQUIRE(graph.outputs.size() == 3);
  CHECK(graph.outputs[0].name == "boxes");
  CHECK(graph.outputs[0].dims == std::vector<int64_t>{-1, 4});
  CHECK(graph.outputs[1].name == "scores");
  CHECK(graph.outputs[2].name == "labels");

  for (const Parameter& p : model.parameters().all()) {
    INFO(p.name);
    REQUIRE(graph.initialisers.contains(p.name));
    FRCNN_CHECK_SAME(graph.initialisers.at(p.name).to_vector<float>(), p.tensor.to_vector<float>(),
                     0, 0);
  }
  const auto counts = count_operators(graph);
  CHECK(counts.at("Conv") == 2 + 3);
  CHECK(counts.at("Gemm") == 2 + 2);
  CHECK(counts.at("NonMaxSuppression") == 2);
  CHECK(counts.at("RoiAlign") == 1);
  CHECK(static_cast<int64_t>(graph.nodes.size()) == writer.nodes());
}

TEST_CASE("an export for one size of pictures has constant anchors and known shapes",
          "[export_onnx]") {
  // 50 x 80 becomes 60 x 96 by the longer side, padded to 64 x 96; the map has stride 4.
  const OnnxWriter writer = exported(small_config(), 50, 80);
  const onnx::ModelProto model = checked(writer);
  const OnnxGraph graph = parse_onnx(writer.bytes(), "small.onnx");
  CHECK(graph.inputs[0].dims == std::vector<int64_t>{1, 3, 50, 80});
  CHECK(graph.initialisers.at("anchors/anchors").shape() == Shape({16 * 24 * 6, 4}));
  CHECK(inferred(model, "picture/padded") == std::vector<int64_t>{1, 3, 64, 96});
  CHECK(inferred(model, "backbone/conv2") == std::vector<int64_t>{1, 6, 16, 24});
  CHECK(inferred(model, "rpn/deltas") == std::vector<int64_t>{16 * 24 * 6, 4});
  CHECK(graph.nodes.size() <
        parse_onnx(exported(small_config()).bytes(), "small.onnx").nodes.size());
  const int64_t resizing = count_operators(graph).at("Gather");
  const OnnxWriter same_size = exported(small_config(), 64, 96);
  checked(same_size);
  CHECK(count_operators(parse_onnx(same_size.bytes(), "same.onnx")).at("Gather") == resizing - 4);
}

TEST_CASE("metadata tell classes, config, preprocessing, size and version", "[export_onnx]") {
  const Config config = small_config();
  const auto metadata_of = [&](const OnnxWriter& writer) {
    onnx::ModelProto model;
    REQUIRE(model.ParseFromString(writer.bytes()));
    std::map<std::string, std::string> out;
    for (const auto& entry : model.metadata_props()) out[entry.key()] = entry.value();
    return out;
  };
  const auto any = metadata_of(exported(config));
  CHECK(any.at("format") == "frcnn");
  CHECK(any.at("classes") == "cat\ndog\na \"quoted\" name");
  CHECK(any.at("picture_size") == "any");
  CHECK(any.at("program_version") == "1.2.3");
  CHECK(to_toml(parse_config(any.at("config"), "metadata")) == to_toml(config));
  CHECK(any.at("preprocess").find("\"mean\":[10.0,20.0,30.0]") != std::string::npos);
  CHECK(metadata_of(exported(config, 48, 64)).at("picture_size") == "48x64");
}

TEST_CASE("the same detector gives the same bytes, and the file has them", "[export_onnx]") {
  const test::TempDir folder;
  const Config config = small_config();
  const FasterRcnn model(config.model, 3);
  const auto file = folder.path() / "small.onnx";
  export_onnx(model, config, kClasses, {48, 64, "1.2.3"}, file);
  std::ifstream in(file, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  CHECK(bytes == exported(config, 48, 64).bytes());
  CHECK(bytes != exported(config, 64, 48).bytes());
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("RoI layers, backbones and rules of every setting pass ONNX's checker", "[export_onnx]") {
  const std::string small_map = "preprocess.shorter_side=96";
  const std::vector<std::vector<std::string>> settings = {
      {"roi.layer=roi_pool"},
      {"roi.layer=roi_align_legacy", "roi.sampling_ratio=2"},
      {"roi.class_agnostic=true", "roi.box_mean=[0.1, 0.0, 0.2, 0.0]"},
      {"rpn.objectness=sigmoid", "rpn.size_filter=after", "rpn.window=5"},
      {"preprocess.channels=bgr", "preprocess.rounding=floor", "preprocess.pad_multiple=1"},
      {"anchors.stride_rule=exact", "anchors.centre=corner", "anchors.rounding=torchvision"},
      {"anchors.stride_rule=map", "roi.hidden=[12]"},
      {"roi.class_loss=sigmoid"},
      {"backbone.batch_norm=true"},
      {"backbone.name=zf", "backbone.ceil_mode=true", small_map},
      {"backbone.name=alexnet", small_map},
  };
  for (const std::vector<std::string>& changes : settings) {
    INFO(changes[0]);
    const Config config = small_config(changes);
    checked(exported(config));
    checked(exported(config, 70, 90));
  }
}

TEST_CASE("RoI layers become the operators with their rules", "[export_onnx]") {
  const auto graph_of = [](const std::string& layer) {
    return parse_onnx(exported(small_config({"roi.layer=" + layer})).bytes(), layer);
  };
  const std::string rule = "coordinate_transformation_mode";
  CHECK(find(graph_of("roi_align"), "RoiAlign").text(rule, "") == "half_pixel");
  CHECK(find(graph_of("roi_align_legacy"), "RoiAlign").text(rule, "") == "output_half_pixel");
  CHECK_THROWS_WITH(graph_of("precise_roi"),
                    test::mentions("roi.layer = \"precise_roi\" cannot be exported to ONNX"));
  CHECK(find(graph_of("roi_pool"), "MaxRoiPool").integers("pooled_shape") ==
        std::vector<int64_t>{2, 3});
}

TEST_CASE("scores are a softmax, or sigmoids where the loss was one-vs-all", "[export_onnx]") {
  const auto graph_of = [](const std::string& loss) {
    return parse_onnx(exported(small_config({"roi.class_loss=" + loss})).bytes(), loss);
  };
  const auto count = [](const OnnxGraph& graph, const std::string& op) {
    return std::count_if(graph.nodes.begin(), graph.nodes.end(),
                         [&](const OnnxNode& node) { return node.op_type == op; });
  };
  const OnnxGraph sigmoid = graph_of("sigmoid");
  CHECK(count(sigmoid, "Sigmoid") == 1);
  CHECK(count(sigmoid, "Softmax") == 0);
  CHECK(count(graph_of("cross_entropy"), "Sigmoid") == 0);
  CHECK(count(graph_of("focal"), "Softmax") == 1);
}

/// A network of tests/golden/onnx.h5 written to ONNX and read again.
ImportedNetwork written_and_read(const ImportedNetwork& imported) {
  const test::RunningNetwork network(imported);
  OnnxWriter writer("network", kExportOpset, "test", "1");
  writer.input(
      "x", OnnxType::f32,
      {std::string("n"), imported.network.in_channels, std::string("h"), std::string("w")});
  onnx_export::Graph g(writer);
  g.enter("net");
  const std::string out =
      onnx_export::imported_network(g, imported.network, network.parameters, "", "x");
  const NetworkValue value = imported.network.check()[static_cast<size_t>(imported.network.output)];
  std::vector<OnnxSize> sizes = {std::string("n"), std::string("c")};
  if (value.map) sizes.insert(sizes.end(), {std::string("oh"), std::string("ow")});
  writer.output(out, OnnxType::f32, sizes);
  checked(writer);
  return import_onnx(parse_onnx(writer.bytes(), "again.onnx"), out);
}

TEST_CASE("imported networks come back from an export with the same outputs", "[export_onnx]") {
  for (const std::string group : {"nodes", "exported"})
    for (const std::string& name : test::golden_members("onnx", group)) {
      INFO(group << "/" << name);
      const OnnxGraph graph = test::onnx_graph(group + "/" + name);
      const ImportedNetwork before =
          import_onnx(graph, name.starts_with("mobile") ? "" : graph.outputs[0].name);
      if (name == "channels_last") continue;  // its input has another order
      const ImportedNetwork after = written_and_read(before);
      const Tensor x = test::onnx_array(group == "nodes" ? "x" : "picture");
      FRCNN_CHECK_SAME(test::RunningNetwork(after).forward(x).to_vector<float>(),
                       test::RunningNetwork(before).forward(x).to_vector<float>(), 0, 0);
    }
}

TEST_CASE("what cannot be exported is refused with the setting's name", "[export_onnx]") {
  using Catch::Matchers::Contains;
  CHECK_THROWS_WITH(exported(small_config({"rpn.test.pre_nms=20000000"})),
                    Contains("rpn.test.pre_nms") && Contains("16777216"));
  CHECK_THROWS_WITH(
      exported(small_config({"rpn.test.pre_nms=10000000", "rpn.test.post_nms=9000000"})),
      Contains("rpn.test.post_nms") && Contains("3 classes"));
  CHECK_THROWS_WITH(exported(small_config(), 50, 0), Contains("height") && Contains("50 x 0"));
  CHECK_THROWS_WITH(exported(small_config({"backbone.name=alexnet", "preprocess.shorter_side=8",
                                           "preprocess.longer_side=8"}),
                             50, 50),
                    Contains("50 x 50") && Contains("no feature map"));
  const Config config = small_config();
  const FasterRcnn model(config.model, 3);
  CHECK_THROWS_WITH(onnx_model(model, config, {"one"}, {}), Contains("3 classes"));
  CHECK_THROWS_WITH(export_onnx(model, config, kClasses, {}, "/nonexistent/a.onnx"),
                    Contains("/nonexistent/a.onnx"));
}

TEST_CASE("the writer refuses values that are made twice or not at all", "[export_onnx]") {
  using Catch::Matchers::Contains;
  OnnxWriter writer("graph", kExportOpset, "test", "1");
  writer.input("x", OnnxType::f32, {int64_t{2}, std::string("n")});
  CHECK_THROWS_WITH(writer.input("x", OnnxType::f32, {}), Contains("\"x\" is made twice"));
  CHECK_THROWS_WITH(writer.node("Add", "y", {"x", "z"}), Contains("\"z\", which nothing makes"));
  CHECK_THROWS_WITH(writer.output("y2", OnnxType::f32, {}), Contains("\"y2\" is not made"));
}

}  // namespace
}  // namespace frcnn
