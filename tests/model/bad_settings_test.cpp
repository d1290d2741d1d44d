// Settings that cannot be meant: each is refused in one line that names the key, what was found and
// what is allowed.
#include "kernels/launch/check.h"
#include "model/faster_rcnn.h"
#include "model/options.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

/// What a config with these changes is refused with; "accepted" where it is not.
std::string refusal(const std::string& text, const std::vector<std::string>& settings) {
  try {
    parse_config(text, "c.toml", settings);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

struct Row {
  std::vector<std::string> settings;
  std::vector<std::string> parts;  ///< of the message: key, value, allowed range
};

}  // namespace

TEST_CASE("bad settings: every one is named with its value and what is allowed") {
  const std::vector<Row> rows = {
      // IoU low above high
      {{"rpn.negative_iou=0.8"}, {"rpn.negative_iou = 0.8", "not be above rpn.positive_iou = 0.7"}},
      {{"roi.background_low=0.6"},
       {"roi.background_low = 0.6", "not be above roi.background_high = 0.5"}},
      {{"roi.background_high=0.7"},
       {"roi.background_high = 0.7", "not be above roi.foreground_iou = 0.5"}},
      {{"rpn.positive_iou=1.5"}, {"rpn.positive_iou must be 0 to 1, found 1.5"}},
      // shares above 1, more foreground than RoIs, no foreground at all
      {{"rpn.positive_fraction=1.5"}, {"rpn.positive_fraction must be 0 to 1, found 1.5"}},
      {{"roi.foreground_fraction=2"}, {"roi.foreground_fraction must be 0 to 1, found 2"}},
      {{"roi.foreground_fraction=0.001"},
       {"roi.foreground_fraction = 0.001", "roi.batch = 128", "must be 0.007812 to 1"}},
      {{"rpn.batch=1"}, {"rpn.positive_fraction = 0.5", "rpn.batch = 1 ", "must be 1 to 1"}},
      // anchors
      {{"anchors.sizes=[]"}, {"anchors.sizes must not be empty"}},
      {{"anchors.ratios=[]"}, {"anchors.ratios must not be empty"}},
      {{"anchors.ratios=[0.5, 0]"}, {"anchors.ratios must be above 0, found 0"}},
      {{"anchors.sizes=[-16]"}, {"anchors.sizes must be above 0, found -16"}},
      {{"anchors.stride_rule=double"}, {"anchors.stride_rule must be one of", "\"double\""}},
      {{"backbone.tiny_strides=[2, 2]"}, {"tiny_channels has 7 values", "tiny_strides has 2"}},
      // learning rates
      {{"optimizer.lr=-0.1"}, {"optimizer.lr must be 0 to 10, found -0.1"}},
      {{"optimizer.lr=25"}, {"optimizer.lr must be 0 to 10, found 25"}},
      {{"optimizer.lr=nan"}, {"optimizer.lr must be 0 to 10, found nan"}},
      {{"optimizer.rpn.lr=11"}, {"optimizer.rpn.lr must be 0 to 10, found 11"}},
      {{"optimizer.method=adam", "optimizer.lr=3"},
       {"optimizer.lr = 3 must be 0 to 1 with method \"adam\"", "0.0001 to 0.001 is usual"}},
      {{"optimizer.lr=2", "optimizer.detector.method=adamw"},
       {"optimizer.lr = 2 must be 0 to 1 with method \"adamw\""}},
      {{"optimizer.rpn.method=adam", "optimizer.rpn.lr=1.5"},
       {"optimizer.rpn.lr = 1.5 must be 0 to 1 with method \"adam\""}},
      {{"optimizer.method=nesterov", "optimizer.momentum=0"},
       {"optimizer.momentum = 0 must be above 0", "plain descent is \"sgd\""}},
      {{"optimizer.momentum=1"}, {"optimizer.momentum must be 0 to 0.9999999, found 1"}},
      {{"optimizer.beta2=1"}, {"optimizer.beta2 must be 0 to 0.9999999, found 1"}},
      {{"optimizer.rpn.momentum=1.0"}, {"optimizer.rpn.momentum must be 0 to 0.9999999"}},
      {{"optimizer.epsilon=0"}, {"optimizer.epsilon must be above 0, found 0"}},
      {{"optimizer.weight_decay=-1"}, {"optimizer.weight_decay must be 0 to 1, found -1"}},
      {{"optimizer.method=rmsprop"}, {"optimizer.method must be one of", "\"adamw\"", "rmsprop"}},
      // schedules
      {{"optimizer.lr_steps=[0.9, 0.6]"},
       {"optimizer.lr_steps = [0.9, 0.6] must be in ascending order"}},
      {{"optimizer.rpn.lr_steps=[0.5, 0.25]"}, {"optimizer.rpn.lr_steps = [0.5, 0.25]"}},
      {{"optimizer.lr_steps=[1.5]"}, {"optimizer.lr_steps must be above 0, up to 1, found 1.5"}},
      {{"optimizer.schedule=linear"}, {"optimizer.schedule must be one of", "\"polynomial\""}},
      {{"optimizer.final_share=1.5"}, {"optimizer.final_share must be 0 to 1, found 1.5"}},
      {{"optimizer.power=0"}, {"optimizer.power must be above 0, up to 100, found 0"}},
      {{"optimizer.warmup_factor=2"}, {"optimizer.warmup_factor must be 0 to 1, found 2"}},
      {{"optimizer.rpn.power=2"},
       {"optimizer.rpn.power has no effect", "schedule \"step\"", "optimizer.rpn.schedule"}},
      {{"optimizer.schedule=cosine", "optimizer.detector.lr_steps=[0.5]"},
       {"optimizer.detector.lr_steps has no effect", "schedule \"cosine\""}},
      {{"optimizer.backbone.beta2=0.9"},
       {"optimizer.backbone.beta2 has no effect with method \"sgd\""}},
      // augmentation
      {{"data.augment.crop=1.5"}, {"data.augment.crop must be 0 to 1, found 1.5"}},
      {{"data.augment.hue=0.75"}, {"data.augment.hue must be 0 to 0.5, found 0.75"}},
      {{"data.augment.crop_min_area=0"}, {"data.augment.crop_min_area must be 0.01 to 1, found 0"}},
      {{"data.augment.crop_min_iou=[2]"}, {"data.augment.crop_min_iou must be 0 to 1, found 2"}},
      {{"data.balance=-1"}, {"data.balance must be 0 to 1, found -1"}},
      {{"train.scheme=alternating", "data.augment.mosaic=0.5"},
       {"data.augment.mosaic = 0.5 must be 0 with train.scheme = \"alternating\""}},
      {{"train.scheme=detector_only", "data.proposals=p.h5", "data.augment.rotate=1"},
       {"data.augment.rotate = 1 must be 0 with train.scheme = \"detector_only\""}},
      // losses, averages, precision
      {{"rpn.class_loss=hinge"}, {"rpn.class_loss must be one of \"cross_entropy\", \"focal\""}},
      {{"roi.class_loss=softmax"}, {"roi.class_loss must be one of", "\"sigmoid\""}},
      {{"rpn.focal_alpha=1.5"}, {"rpn.focal_alpha must be -1 to 1, found 1.5"}},
      {{"roi.focal_gamma=-1"}, {"roi.focal_gamma must be 0 to 10, found -1"}},
      {{"rpn.box_loss=iou"}, {"rpn.box_loss must be one of", "\"giou\"", "\"iou\""}},
      {{"rpn.normaliser=none"}, {"rpn.normaliser must be one of", "\"positives\""}},
      {{"train.ema=1"}, {"train.ema must be 0 to 0.9999999, found 1"}},
      {{"train.precision=fp16"}, {"train.precision must be one of \"f32\", \"tf32\", \"bf16\""}},
  };
  for (const Row& row : rows) {
    INFO(row.settings.back());
    const std::string found = refusal("", row.settings);
    for (const std::string& part : row.parts) CHECK_THAT(found, mentions(part));
    CHECK(found.find('\n') == std::string::npos);
  }
}

TEST_CASE("bad settings: a branch that is written twice is refused with its line") {
  CHECK_THAT(refusal("[optimizer.rpn]\nlr = 0.1\nlr = 0.2\n", {}), mentions("c.toml:3: not valid"));
  CHECK_THAT(refusal("[optimizer.rpn]\nlr = 0.1\n[optimizer.rpn]\nmomentum = 0.2\n", {}),
             mentions("c.toml:3: not valid"));
}

TEST_CASE("bad settings: an unknown layer names the layers; a stride that cannot fit is refused") {
  Config config = parse_config(
      "", "c.toml",
      {"backbone.name=tiny", "backbone.tiny_channels=[4, 6, 6]", "backbone.tiny_strides=[2, 2, 2]",
       "backbone.frozen_until=conv9", "roi.hidden=[5]", "rpn.channels=4"});
  try {
    const FasterRcnn model(config.model, 2);
    FAIL("accepted");
  } catch (const UsageError& error) {
    CHECK_THAT(error.what(), mentions("backbone.frozen_until: tiny has no layer \"conv9\"; its "
                                      "layers are conv1, conv2, conv3"));
  }
  config.model.backbone.frozen_until = "";
  const FasterRcnn model(config.model, 2);
  CHECK(model.stride(12, 16, 90, 128).y == 8);  // rounding, and borders that were not padded
  CHECK_THROWS_WITH(model.stride(9, 16, 90, 128),
                    mentions("anchors.stride_rule = \"nominal\": 9 x 16 cells of stride 8 x 8") &&
                        mentions("90 x 128") && mentions("choose \"map\" or \"exact\""));
}

TEST_CASE("strides of anchors and of the RoI layer by rule: 38 x 50 cells of 600 x 800 pixels") {
  Config config = parse_config(
      "", "c.toml",
      {"backbone.name=zf", "backbone.frozen_until=", "roi.hidden=[5]", "rpn.channels=4"});
  const auto strides = [&](const char* rule) {
    config.model.anchors.stride_rule = rule;
    const FasterRcnn model(config.model, 2);
    const auto anchors = model.stride(38, 50, 600, 800), rois = model.roi_stride(38, 50, 600, 800);
    return std::array{anchors.y, anchors.x, rois.y, rois.x};
  };
  CHECK(strides("nominal") == std::array{16.0, 16.0, 16.0, 16.0});
  CHECK(strides("map") == std::array{15.0, 16.0, 16.0, 16.0});  // as torchvision
  CHECK(strides("exact") == std::array{600 / 38.0, 16.0, 600 / 38.0, 16.0});
}
