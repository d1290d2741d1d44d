#include "model/export_safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/options.h"
#include "tests/support/support.h"
#include "weights/weight_file.h"

namespace frcnn {
namespace {

using test::mentions;

Config small_config() {
  Config config;
  ModelConfig& m = config.model;
  m.preprocess = {"bgr", 1, {1, 2, 3}, {4, 5, 6}, 64, 96, "floor", 8};
  m.backbone.name = "tiny";
  m.backbone.frozen_until = "";
  m.backbone.tiny_channels = {4, 6};
  m.backbone.tiny_strides = {2, 2};
  m.anchors.sizes = {8, 16};
  m.rpn.channels = 6;
  m.rpn.test = {100, 20, 0.7, 0};
  m.roi.pooled_height = m.roi.pooled_width = 2;
  m.roi.hidden = {7, 7};
  m.roi.init = {"gauss", 0.2};
  return config;
}

const Tensor& find(const TorchvisionModel& model, const std::string& name) {
  const auto at = std::find_if(model.tensors.begin(), model.tensors.end(),
                               [&](const auto& named) { return named.first == name; });
  INFO(name);
  REQUIRE(at != model.tensors.end());
  return at->second;
}

std::vector<float> ours(const FasterRcnn& model, const std::string& name) {
  return model.parameters().find(name)->tensor.to_vector<float>();
}

TEST_CASE("a detector exported as safetensors comes back bit-equal with its settings", "[export]") {
  const test::TempDir folder;
  const Config config = small_config();
  const FasterRcnn model(config.model, 2);
  const std::filesystem::path file = folder.path() / "a.safetensors";
  export_safetensors(model, config, {"cat", "dog"}, "1.2.3", file);
  const auto read = WeightFile::open(file);
  CHECK(read->entries().size() == model.parameters().all().size());
  for (const Parameter& p : model.parameters().all()) {
    const WeightEntry* entry = read->find(p.name);
    REQUIRE(entry != nullptr);
    FRCNN_CHECK_SAME(read->read(*entry).to_vector<float>(), p.tensor.to_vector<float>(), 0, 0);
  }
  CHECK(read->metadata().at("classes") == "cat\ndog");
  CHECK(read->metadata().at("program_version") == "1.2.3");
  CHECK(read->metadata().at("format") == "frcnn");
  CHECK(to_toml(parse_config(read->metadata().at("config"), "file")) == to_toml(config));
}

TEST_CASE("a torchvision state_dict has torchvision's names, channel order and objectness",
          "[export]") {
  Config config = small_config();
  config.model.roi.class_agnostic = true;
  config.model.roi.box_mean = {0.1, 0, -0.2, 0};
  const FasterRcnn model(config.model, 2);
  const TorchvisionModel made = torchvision_model(model, config, {"cat", "dog"}, "1.2.3");
  CHECK(made.differences.empty());
  CHECK(made.tensors.size() == 2 * 6 + 6 + 8);

  // B, G, R filters become R, G, B.
  const std::vector<float> theirs = find(made, "backbone.0.weight").to_vector<float>();
  const std::vector<float> bgr = ours(model, "backbone.conv1.weight");
  for (size_t i = 0; i < bgr.size(); ++i) {
    const size_t filter = i / 27, channel = i / 9 % 3;
    REQUIRE(theirs[i] == bgr[filter * 27 + (2 - channel) * 9 + i % 9]);
  }
  // Only the first layer's.
  FRCNN_CHECK_SAME(find(made, "backbone.3.weight").to_vector<float>(),
                   ours(model, "backbone.conv2.weight"), 0, 0);
  FRCNN_CHECK_SAME(find(made, "backbone.4.running_var").to_vector<float>(),
                   ours(model, "backbone.conv2.norm.running_var"), 0, 0);
  CHECK(find(made, "backbone.1.num_batches_tracked").dtype() == DType::i64);

  const std::vector<float> two = ours(model, "rpn.cls.weight");
  const Tensor& one = find(made, "rpn.head.cls_logits.weight");
  CHECK(one.shape() == Shape{6, 6, 1, 1});
  for (size_t a = 0; a < 6; ++a)
    for (size_t c = 0; c < 6; ++c)
      CHECK(one.to_vector<float>()[a * 6 + c] == two[(2 * a + 1) * 6 + c] - two[2 * a * 6 + c]);

  const std::vector<float> boxes =
      find(made, "roi_heads.box_predictor.bbox_pred.bias").to_vector<float>();
  REQUIRE(boxes.size() == 12);
  for (size_t k = 0; k < 3; ++k) {
    CHECK(boxes[4 * k] == Approx(ours(model, "head.box.bias")[0] + 1.0));
    CHECK(boxes[4 * k + 2] == Approx(ours(model, "head.box.bias")[2] - 1.0));
  }

  const auto json = nlohmann::json::parse(made.metadata.at("torchvision"));
  CHECK(json["num_classes"] == 3);
  CHECK(json["image_mean"][0].get<double>() == Approx(3.0 / 255));
  CHECK(json["image_std"][2].get<double>() == Approx(4.0 / 255));
  CHECK(json["bbox_reg_weights"] == nlohmann::json({10, 10, 5, 5}));
  CHECK(json["backbone"].size() == 6);
  CHECK(json["cell_anchors"].size() == 6);
  // Centred in the cell: half a stride of 4.
  CHECK(json["cell_anchors"][0][0].get<double>() + json["cell_anchors"][0][2].get<double>() ==
        Approx(4));
  CHECK(made.metadata.at("classes") == "cat\ndog");
}

TEST_CASE("what torchvision cannot follow is named", "[export]") {
  const auto differences = [](auto&& change) {
    Config config = small_config();
    change(config.model);
    const FasterRcnn model(config.model, 2);
    std::string all;
    for (const std::string& d : torchvision_model(model, config, {"a", "b"}, "").differences)
      all += d + "; ";
    return all;
  };
  CHECK(differences([](ModelConfig&) {}).empty());
  CHECK_THAT(differences([](ModelConfig& m) { m.preprocess.rounding = "nearest"; }),
             mentions("preprocess.rounding"));
  CHECK_THAT(differences([](ModelConfig& m) { m.rpn.test.min_size = 16; }),
             mentions("rpn.test.min_size = 16"));
  CHECK_THAT(differences([](ModelConfig& m) { m.test.min_size = 2; }),
             mentions("test.min_size = 2"));
  CHECK_THAT(differences([](ModelConfig& m) { m.anchors.stride_rule = "exact"; }),
             mentions("anchors.stride_rule"));
  // Sides of 9 and more do not all have maps of whole strides; only one rule is torchvision's.
  const auto odd_sizes = [&](const char* rule, const char* centre) {
    return differences([&](ModelConfig& m) {
      m.preprocess = {"rgb", 1, {0, 0, 0}, {1, 1, 1}, 9, 96, "floor", 1};
      m.anchors.stride_rule = rule, m.anchors.centre = centre;
    });
  };
  for (const char* rule : {"nominal", "map", "exact"})
    CHECK_THAT(odd_sizes(rule, "cell"), mentions("anchors.stride_rule"));
  CHECK_THAT(odd_sizes("nominal", "corner"), mentions("with centre = \"corner\""));
  CHECK(odd_sizes("map", "corner").empty());

  const auto refusal = [&](auto&& change) {
    try {
      differences(change);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK_THAT(refusal([](ModelConfig& m) { m.rpn.channels = 5; }), mentions("rpn.channels = 5"));
  CHECK_THAT(refusal([](ModelConfig& m) { m.rpn.window = 5; }), mentions("rpn.window = 5"));
  CHECK_THAT(refusal([](ModelConfig& m) { m.roi.hidden = {7}; }), mentions("roi.hidden"));
  CHECK_THAT(refusal([](ModelConfig& m) { m.roi.hidden = {7, 8}; }), mentions("roi.hidden"));
  CHECK_THAT(refusal([](ModelConfig& m) { m.roi.class_loss = "sigmoid"; }),
             mentions("roi.class_loss = \"sigmoid\": torchvision's head takes scores by softmax"));
  CHECK(refusal([](ModelConfig& m) { m.roi.class_loss = "focal"; }).empty());
}

}  // namespace
}  // namespace frcnn
