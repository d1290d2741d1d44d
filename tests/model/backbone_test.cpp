#include "model/backbone.h"

#include "engine/tape.h"
#include "model/faster_rcnn.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

ModelConfig config_for(const std::string& backbone) {
  ModelConfig config;
  config.backbone.name = backbone;
  config.backbone.frozen_until = "";
  return config;
}

}  // namespace

TEST_CASE("A2 backbones: VGG16 cut after conv5_3 has stride 16, ZF stride 16") {
  CHECK(vgg16_spec().stride() == 16);
  CHECK(vgg16_spec().layers.back().name == "conv5_3");
  CHECK(vgg16_spec().out_channels() == 512);
  CHECK(zf_spec().stride() == 16);
  CHECK(alexnet_spec().stride() == 32);
  BackboneConfig own;
  own.name = "tiny";
  own.tiny_channels = {8, 16};
  own.tiny_strides = {2, 2};
  CHECK(backbone_spec(own).stride() == 4);
  own.name = "vgg17";
  CHECK_THROWS_WITH(backbone_spec(own), mentions("got \"vgg17\""));
}

TEST_CASE("A3 receptive field: 228 VGG16 and 171 ZF with the 3x3 window; 196 and 139 without") {
  CHECK(vgg16_spec().receptive_field(3) == 228);
  CHECK(zf_spec().receptive_field(3) == 171);
  CHECK(vgg16_spec().receptive_field() == 196);
  CHECK(zf_spec().receptive_field() == 139);
}

TEST_CASE("A1 A4 parameters: RPN of VGG16 2,387,510 and of ZF 603,958, conv layers and head") {
  const FasterRcnn vgg(config_for("vgg16"), 20, 1, DType::f32, /*fill=*/false);
  CHECK(vgg.anchors_per_cell() == 9);
  CHECK(vgg.parameters().find("rpn.box.weight")->tensor.shape() == Shape{36, 512, 1, 1});
  CHECK(vgg.parameters().find("rpn.cls.weight")->tensor.shape() == Shape{18, 512, 1, 1});
  CHECK(vgg.parameters().count("rpn.") == 2387510);
  CHECK(vgg.parameters().count("backbone.") == 14714688);
  CHECK(vgg.parameters().count("head.") == 119976041);
  const FasterRcnn zf(config_for("zf"), 20, 1, DType::f32, /*fill=*/false);
  CHECK(zf.parameters().count("rpn.") == 603958);
  CHECK(zf.parameters().count("backbone.") == 3726464);
}

TEST_CASE("E1 E2 E7 AlexNet: 2,469,696 parameters, RPN 601,645, head 17,920 to 1024 to 1024") {
  ModelConfig config = config_for("alexnet");
  config.rpn.objectness = "sigmoid";
  config.roi.layer = "roi_align_legacy";
  config.roi.pooled_height = 7;
  config.roi.pooled_width = 10;
  config.roi.hidden = {1024, 1024};
  const FasterRcnn model(config, 16, 1, DType::f32, /*fill=*/false);
  CHECK(model.parameters().count("backbone.") == 2469696);
  CHECK(model.parameters().count("rpn.") == 601645);
  CHECK(model.parameters().find("head.fc6.weight")->tensor.shape() == Shape{1024, 17920});
  CHECK(model.parameters().find("head.fc7.weight")->tensor.shape() == Shape{1024, 1024});
  CHECK(model.parameters().find("head.cls.weight")->tensor.shape() == Shape{17, 1024});
  CHECK(model.parameters().find("head.box.weight")->tensor.shape() == Shape{68, 1024});

  // 800 x 800 gives a map of 24 x 24 with 9 scores and 36 deltas per cell.
  const Tensor map = model.features(Tensor::zeros({1, 3, 800, 800}), false);
  CHECK(map.shape() == Shape{1, 256, 24, 24});
  const RpnOutput out = model.rpn(map);
  CHECK(out.logits.shape() == Shape{24 * 24 * 9, 1});
  CHECK(out.deltas.shape() == Shape{24 * 24 * 9, 4});
}

TEST_CASE("E8 AlexNet: 300 x 500 gives a map of 8 x 14") {
  CHECK(alexnet_spec().map_size(300) == 8);
  CHECK(alexnet_spec().map_size(500) == 14);
}

TEST_CASE("F1 F4 VGG16: 800 x 800 gives (512, 50, 50); rows (22500, 4) and (22500, 2)") {
  CHECK(vgg16_spec().map_size(800) == 50);
  // The layers agree with the formula; a small picture keeps the test fast.
  ModelConfig small_head = config_for("vgg16");
  small_head.roi.hidden = {8};
  const FasterRcnn model(small_head, 20);
  const Tensor map = model.features(Tensor::zeros({1, 3, 100, 130}), false);
  CHECK(map.shape() == Shape{1, 512, vgg16_spec().map_size(100), vgg16_spec().map_size(130)});
  const RpnOutput out = model.rpn(map);
  CHECK(out.deltas.shape() == Shape{out.map_h * out.map_w * 9, 4});
  CHECK(out.logits.shape() == Shape{out.map_h * out.map_w * 9, 2});
  CHECK(50 * 50 * model.anchors_per_cell() == 22500);
}

TEST_CASE("A12 backbone: layers up to frozen_until are not trained") {
  ModelConfig config = config_for("vgg16");
  config.backbone.frozen_until = "conv2_2";
  const FasterRcnn model(config, 20, 1, DType::f32, /*fill=*/false);
  CHECK_FALSE(model.parameters().find("backbone.conv1_1.weight")->trainable());
  CHECK_FALSE(model.parameters().find("backbone.conv2_2.bias")->trainable());
  CHECK(model.parameters().find("backbone.conv3_1.weight")->trainable());
  config.backbone.frozen_until = "conv9";
  CHECK_THROWS_WITH(FasterRcnn(config, 20, 1, DType::f32, false),
                    mentions("vgg16 has no layer \"conv9\""));
}

TEST_CASE("map sizes of the formula are those of the layers, rounded down and up") {
  for (const std::string name : {"zf", "alexnet", "tiny"})
    for (const bool up : {false, true}) {
      ModelConfig config = config_for(name);
      config.backbone.ceil_mode = up;
      config.roi.hidden = {8};
      const FasterRcnn model(config, 2);
      for (const int64_t size : {97, 120, 131}) {
        const Tensor map = model.features(Tensor::zeros({1, 3, size, 100}), false);
        INFO(name << " " << size << " up " << up);
        CHECK(map.dim(2) == model.backbone_spec().map_size(size));
      }
    }
}

TEST_CASE("batch norms are folded into their convolutions in inference, with the same map") {
  for (const char* name : {"tiny", "resnet18_v2"}) {
    INFO(name);
    ModelConfig config = config_for(name);
    config.backbone.batch_norm = true;
    Parameters parameters(1);
    const Backbone backbone(backbone_spec(config.backbone), config.backbone, parameters);
    for (const Parameter& p : parameters.all()) {
      if (p.kind != ParameterKind::norm_scale && p.kind != ParameterKind::buffer) continue;
      Tensor tensor = p.tensor;
      tensor.copy_from(Tensor::from(
          tensor.shape(), random_vector<float>(static_cast<size_t>(tensor.numel()), 0.5, 1.5, 7)));
      tensor.bump_version();
    }
    const Tensor images =
        Tensor::from({2, 3, 64, 96}, random_vector<float>(2 * 3 * 64 * 96, -1, 1, 5));
    const std::vector<float> folded = backbone.forward(images, false).to_vector<float>();
    Tape tape;
    const Tape::Scope recording(tape);  // what is recorded runs layer by layer
    const std::vector<float> plain = backbone.forward(images, false).to_vector<float>();
    CHECK(tape.size() > 0);
    CHECK(folded != plain);
    CHECK(relative_l2(folded, plain) < 1e-5);
  }
}
