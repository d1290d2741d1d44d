// The five source systems as presets: what each resolves to, and the numbers of its rows.
#include <cmath>
#include <set>

#include "apps/presets.h"
#include "data/files.h"
#include "model/faster_rcnn.h"
#include "model/input.h"
#include "model/options.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::apps;
using namespace frcnn::test;

namespace {

Config resolved(const std::string& name, const std::vector<std::string>& settings = {}) {
  return parse_config("", "preset " + name, settings, preset_config(name));
}

/// The preset's model; its weights hold nothing useful.
FasterRcnn model_of(const Config& config, int64_t classes) {
  return FasterRcnn(config.model, classes, 1, DType::f32, /*fill=*/false);
}

Shape shape_of(const FasterRcnn& model, const std::string& parameter) {
  const Parameter* p = model.parameters().find(parameter);
  REQUIRE(p != nullptr);
  return p->tensor.shape();
}

/// A picture of that size as the preset's network gets it.
ModelInput input_of(const Config& config, int height, int width) {
  const std::vector<uint8_t> rgb(static_cast<size_t>(3) * height * width, 100);
  return make_input(rgb.data(), width, height, config.model.preprocess);
}

/// The Keras preset with a backbone of known channels in place of the user's file.
Config keras(const std::string& channels, const std::vector<std::string>& more = {}) {
  std::vector<std::string> settings = {
      "backbone.name=tiny", "backbone.cut=\"\"", "backbone.frozen_until=\"\"",
      "backbone.tiny_channels=" + channels, "backbone.tiny_strides=[4]"};
  settings.insert(settings.end(), more.begin(), more.end());
  return resolved("keras-rpn-inception-resnet-v2", settings);
}

}  // namespace

TEST_CASE("presets: each resolves, says what it is in one line, and survives the way to TOML") {
  std::set<std::string> names;
  for (const Preset& preset : presets()) {
    const std::string name(preset.name);
    INFO(name);
    names.insert(name);
    CHECK(preset.summary().size() > 20);
    CHECK(preset.summary().size() < 100);
    const bool keras_preset = name == "keras-rpn-inception-resnet-v2";
    const Config config =
        resolved(name, keras_preset ? std::vector<std::string>{"backbone.onnx=x.onnx"}
                                    : std::vector<std::string>{});
    CHECK(to_toml(parse_config(to_toml(config), "again")) == to_toml(config));
  }
  for (const char* name :
       {"paper-vgg16", "paper-zf", "d2l-resnet18", "keras-rpn-inception-resnet-v2",
        "torchvision-alexnet", "pytorch-vgg16-800", "quickstart", "bccd-tiny"})
    CHECK(names.count(name) == 1);
  CHECK_THROWS_WITH(resolved("keras-rpn-inception-resnet-v2"),
                    mentions("needs backbone.onnx, the file of the network"));
}

TEST_CASE("presets: an unknown name is refused with the nearest one") {
  CHECK_THROWS_WITH(find_preset("paper-vgg19"), mentions("did you mean 'paper-vgg16'?"));
  CHECK_THROWS_WITH(find_preset("zf"), mentions("did you mean 'paper-zf'?"));
  CHECK_THROWS_WITH(find_preset("qqqqqqqqqqqqqq"),
                    mentions("--preset qqqqqqqqqqqqqq: no such preset; `frcnn train --list"));
}

TEST_CASE("presets: settings on top of a preset change what they name and nothing else") {
  const Config base = preset_config("paper-zf");
  const Config config = parse_config("[rpn]\nbatch = 64\n", "more.toml", {"train.seed=7"}, base);
  CHECK(config.model.rpn.batch == 64);
  CHECK(config.train.seed == 7);
  CHECK(config.model.backbone.name == "zf");
  CHECK(config.model.roi.pooled_height == 6);
}

TEST_CASE("A1 A2 A3 A4 A20: paper-vgg16 has the paper's parts and numbers") {
  const Config config = resolved("paper-vgg16");
  const FasterRcnn model = model_of(config, 20);
  CHECK(model.anchors_per_cell() == 9);
  CHECK(shape_of(model, "rpn.cls.weight")[0] == 18);
  CHECK(shape_of(model, "rpn.box.weight")[0] == 36);
  CHECK(model.backbone_spec().stride() == 16);
  CHECK(model.backbone_spec().receptive_field(config.model.rpn.window) == 228);
  CHECK(model.parameters().count("backbone.") == 14714688);
  CHECK(model.parameters().count("rpn.") == 2387510);
  CHECK(model.parameters().count("head.") == 119976041);
  CHECK(config.model.rpn.train.pre_nms == 12000);
  CHECK(config.model.rpn.train.post_nms == 2000);
  CHECK(config.model.rpn.test.pre_nms == 6000);
  CHECK(config.model.rpn.test.post_nms == 300);
  CHECK_FALSE(model.parameters().find("backbone.conv2_2.weight")->trainable());
  CHECK(model.parameters().find("backbone.conv3_1.weight")->trainable());
}

TEST_CASE("A1 A3 A4: paper-zf has the paper's parts and numbers") {
  const Config config = resolved("paper-zf");
  const FasterRcnn model = model_of(config, 20);
  CHECK(model.backbone_spec().stride() == 16);
  CHECK(model.backbone_spec().receptive_field(config.model.rpn.window) == 171);
  CHECK(model.parameters().count("backbone.") == 3726464);
  CHECK(model.parameters().count("rpn.") == 603958);
  CHECK(shape_of(model, "head.fc6.weight") == Shape{4096, 256 * 6 * 6});
  CHECK(model.parameters().find("backbone.conv1.weight")->trainable());
}

TEST_CASE("A5 A6 A7 A9 A10 A11 A14 A18 A19: the paper's presets keep every default of the paper") {
  const Config defaults;
  for (const char* name : {"paper-vgg16", "paper-zf"}) {
    const Config config = resolved(name);
    for (const OptionInfo& option : option_list()) {
      const bool network = option.key == "backbone.name" || option.key == "rpn.channels" ||
                           option.key == "backbone.frozen_until" ||
                           option.key.starts_with("roi.pooled_");
      INFO(name << " " << option.key);
      if (!network) CHECK(get_option(config, option.key) == get_option(defaults, option.key));
    }
    const ModelInput input = input_of(config, 375, 500);
    CHECK(input.images.shape() == Shape{1, 3, 600, 800});
    CHECK(std::llround(config.optimizer.lr_steps[0] * static_cast<double>(config.train.steps)) ==
          60000);
  }
}

TEST_CASE("B3 B4 B5: d2l-resnet18 has five anchors, a window of 128, one box for all classes") {
  const Config config = resolved("d2l-resnet18");
  const FasterRcnn model = model_of(config, 20);
  CHECK(input_of(config, 333, 500).images.shape() == Shape{1, 3, 256, 256});
  CHECK(model.backbone_spec().map_size(256, 256) == std::array<int64_t, 2>{8, 8});
  CHECK(model.anchors_per_cell() == 5);
  const Tensor anchors = model.anchors(8, 8, 256, 256);
  REQUIRE(anchors.dim(0) == 320);
  const double sizes[] = {0.85, 0.43, 0.21, 0.85, 0.85};
  for (int i = 0; i < 5; ++i) {
    const float* b = anchors.data<float>() + 4 * i;
    CHECK(std::abs(std::sqrt((b[2] - b[0]) * (b[3] - b[1])) - sizes[i] * 256) < 1e-3);
  }
  CHECK(shape_of(model, "rpn.conv.weight") == Shape{128, 512, 3, 3});
  CHECK(shape_of(model, "rpn.cls.weight")[0] == 10);
  CHECK(model.parameters().count("rpn.") == 593822);
  CHECK(shape_of(model, "head.box.weight")[0] == 4);
  CHECK(config.train.batch == 32);
  CHECK(config.model.backbone.init.method == "xavier");
  CHECK(config.model.rpn.box_loss == "l1");
  CHECK(config.model.rpn.objectness == "softmax");
  CHECK(config.optimizer.lr == 0.1);
  CHECK(config.optimizer.backbone.lr == 0.01);
  CHECK(config.optimizer.weight_decay == 1e-4);
  CHECK(config.model.rpn.train.nms_iou == 0.7);
  CHECK(config.model.roi.foreground_iou == 0.5);
  CHECK(config.model.roi.background_high == 0.5);
}

TEST_CASE("C1: the Keras RPN has 7,101,485 parameters, k sigmoid scores and 4k deltas") {
  const Config config = keras("[1536]");
  const FasterRcnn model = model_of(config, 20);
  CHECK(model.backbone_spec().out_channels() == 1536);
  CHECK(model.parameters().count("rpn.") == 7101485);
  CHECK(shape_of(model, "rpn.conv.weight") == Shape{512, 1536, 3, 3});
  CHECK(shape_of(model, "rpn.cls.weight")[0] == 9);
  CHECK(shape_of(model, "rpn.box.weight")[0] == 36);
  const Tensor map = Tensor::zeros({1, 1536, 4, 5}, DType::f32);
  const RpnOutput out = model.rpn(map);  // padded: the map keeps its size
  CHECK(out.logits.shape() == Shape{4 * 5 * 9, 1});
  CHECK(out.deltas.shape() == Shape{4 * 5 * 9, 4});
}

TEST_CASE("C2 C3 C4: 333x500 with a map of 9x14: strides, 1134 anchors, and where number 150 is") {
  const Config config = keras("[8]");
  const FasterRcnn model = model_of(config, 20);
  CHECK(input_of(config, 333, 500).images.shape() == Shape{1, 3, 333, 500});
  const FasterRcnn::Stride stride = model.stride(9, 14, 333, 500);
  CHECK(stride.y == 37.0);
  CHECK(std::abs(stride.x - 35.714) < 1e-3);
  const Tensor anchors = model.anchors(9, 14, 333, 500);
  CHECK(anchors.dim(0) == 1134);
  // 150 = 16 * 9 + 6: cell 16 of a map 14 wide is row 1, column 2.
  const float* box = anchors.data<float>() + 4 * 150;
  CHECK(std::abs((box[0] + box[2]) / 2 - 2.5 * stride.x) < 1e-3);
  CHECK(std::abs((box[1] + box[3]) / 2 - 1.5 * stride.y) < 1e-3);
  CHECK(150 / 9 == 16);
  CHECK(16 / 14 == 1);
  CHECK(16 % 14 == 2);
  // Scale 3 of a cell of 37.0 x 35.714, ratio 1: the shapes are rounded as numpy does.
  const float* first = anchors.data<float>() + 4 * 3;
  CHECK(first[2] - first[0] == Approx(3 * std::nearbyint(std::sqrt(stride.y * stride.x))));
  // Other pictures, other strides.
  CHECK(model.stride(9, 12, 333, 444).x == 37.0);
}

TEST_CASE("C4: labels of the Keras preset: best anchors stay positive, up to 1:1, inside only") {
  const Config config = keras("[8]");
  const RpnConfig& rpn = config.model.rpn;
  CHECK(rpn.match_best);
  CHECK(rpn.only_inside);
  CHECK(rpn.positive_fraction == 0.5);
  const FasterRcnn model = model_of(config, 20);
  const Tensor anchors = model.anchors(9, 14, 333, 500);
  // So small that no anchor overlaps it by 0.3; its best one is positive all the same.
  const std::vector<GroundTruth> truth = {{{{240, 160, 262, 180}}, {0}}};
  const RpnTargets targets =
      sample_anchors(anchors, {{333, 500, 1, 1}}, truth, rpn, {1, kernels::kStreamAnchorSample, 0});
  CHECK(targets.positives >= 1);
  CHECK(targets.sampled <= 256);
  const float* box = anchors.data<float>();
  for (const int32_t label : targets.labels.to_vector<int32_t>()) {
    const bool inside = box[0] >= 0 && box[1] >= 0 && box[2] < 500 && box[3] < 333;
    if (!inside) CHECK(label == -1);
    box += 4;
  }
}

TEST_CASE("C5: the Keras preset trains the RPN alone, on tiles of the map") {
  const Config config = keras("[8]");
  CHECK(config.train.scheme == "rpn_only");
  CHECK(config.model.rpn.tiles);
  CHECK(config.model.rpn.window == 3);
}

TEST_CASE("C6: the Keras RPN proposes for pictures of any size") {
  const Config config = keras("[8]");
  const FasterRcnn model(config.model, 2);
  for (const auto& [h, w] : {std::pair(333, 500), std::pair(500, 320), std::pair(200, 200)}) {
    const ModelInput input = input_of(config, h, w);
    const Tensor map = model.features(input.images, false);
    const RpnOutput out = model.rpn(map);
    const int64_t height = input.images.dim(2), width = input.images.dim(3);
    const Proposals found = model.propose(out, model.anchors(out.map_h, out.map_w, height, width),
                                          input.sizes, /*training=*/false);
    INFO(h << " x " << w);
    REQUIRE(found.counts[0] > 0);
    const auto boxes = found.boxes.to_vector<float>();
    for (int64_t i = 0; i < found.counts[0]; ++i) {
      const float* b = boxes.data() + 4 * i;
      CHECK((b[0] >= 0 && b[1] >= 0 && b[2] <= static_cast<float>(width) &&
             b[3] <= static_cast<float>(height) && b[2] > b[0] && b[3] > b[1]));
    }
  }
}

TEST_CASE("C7: the Keras preset trains with Adam at 0.001") {
  const Config config = keras("[8]");
  CHECK(config.optimizer.method == "adam");
  CHECK(config.optimizer.lr == 0.001);
  CHECK(config.model.rpn.box_loss == "smooth_l1");
  CHECK_FALSE(config.data.flip);
  CHECK(preset_config("keras-rpn-inception-resnet-v2").model.backbone.frozen_until == "*");
}

TEST_CASE("E1 E3 E4 E7 E8: torchvision-alexnet is the assembled detector") {
  const Config config = resolved("torchvision-alexnet");
  const FasterRcnn model = model_of(config, 16);
  CHECK(model.parameters().count("backbone.") == 2469696);
  CHECK(model.anchors_per_cell() == 12);
  CHECK(shape_of(model, "head.fc6.weight") == Shape{1024, 256 * 4 * 4});
  CHECK(shape_of(model, "head.fc7.weight") == Shape{1024, 1024});
  CHECK(shape_of(model, "head.cls.weight")[0] == 17);
  CHECK(shape_of(model, "head.box.weight")[0] == 68);
  const ModelInput input = input_of(config, 300, 500);
  CHECK(input.images.shape() == Shape{1, 3, 300, 500});
  CHECK(model.backbone_spec().map_size(300, 500) == std::array<int64_t, 2>{8, 14});
  CHECK(config.model.roi.layer == "roi_align_legacy");
  CHECK(config.model.roi.sampling_ratio == 1);
  CHECK(config.model.rpn.positive_iou == 0.5);
  CHECK(config.model.rpn.negative_iou == 0.5);
  CHECK(config.model.rpn.batch == 512);
  CHECK(config.model.rpn.train.pre_nms == 2000);
  CHECK(config.model.rpn.train.post_nms == 1000);
  // E3: each anchor keeps the area of its size, up to torchvision's rounding of half extents.
  const Tensor anchors = model.anchors(1, 1, 35, 35);
  for (int i = 0; i < 12; ++i) {
    const float* b = anchors.data<float>() + 4 * i;
    const double size = 32 << (i % 4);
    CHECK(std::abs(std::sqrt((b[2] - b[0]) * (b[3] - b[1])) / size - 1) < 0.05);
  }
}

TEST_CASE("F1 F2 F4 F5 F7 F9: pytorch-vgg16-800 has the pipeline's shapes and settings") {
  const Config config = resolved("pytorch-vgg16-800");
  const FasterRcnn model = model_of(config, 20);
  CHECK(input_of(config, 333, 500).images.shape() == Shape{1, 3, 800, 800});
  CHECK(model.backbone_spec().map_size(800, 800) == std::array<int64_t, 2>{50, 50});
  CHECK(model.backbone_spec().out_channels() == 512);
  const Tensor anchors = model.anchors(50, 50, 800, 800);
  REQUIRE(anchors.dim(0) == 22500);
  const auto boxes = anchors.to_vector<float>();
  int inside = 0;
  for (size_t i = 0; i < boxes.size(); i += 4)
    inside += boxes[i] >= 0 && boxes[i + 1] >= 0 && boxes[i + 2] <= 800 && boxes[i + 3] <= 800;
  CHECK(inside == 8940);
  CHECK(shape_of(model, "rpn.cls.weight")[0] == 18);
  CHECK(shape_of(model, "head.fc6.weight") == Shape{4096, 25088});
  CHECK(shape_of(model, "head.fc7.weight") == Shape{2048, 4096});
  CHECK(config.model.rpn.lambda == 10);
  CHECK(config.model.roi.batch == 128);
  CHECK(config.model.roi.foreground_fraction == 0.5);
  CHECK(config.model.roi.foreground_iou == 0.7);
  CHECK(config.model.roi.background_low == 0);
}

TEST_CASE("F6: proposals of pytorch-vgg16-800: 12000 to 2000 and 6000 to 300, 0.7, 16 pixels") {
  const RpnConfig rpn = resolved("pytorch-vgg16-800").model.rpn;
  CHECK(rpn.train.pre_nms == 12000);
  CHECK(rpn.train.post_nms == 2000);
  CHECK(rpn.test.pre_nms == 6000);
  CHECK(rpn.test.post_nms == 300);
  CHECK(rpn.train.nms_iou == 0.7);
  CHECK(rpn.train.min_size == 16);
}

TEST_CASE("F10: the page of pytorch-vgg16-800 says of which test set an accuracy is") {
  const std::string page = read_text(source_dir() / "docs/presets/pytorch-vgg16-800.md");
  CHECK_THAT(page, mentions("75.9 mAP is the paper's result on VOC2012 test"));
  CHECK_THAT(page, mentions("on VOC2007 test the\nsame training gives 78.8"));
}
