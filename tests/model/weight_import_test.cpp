#include "model/weight_import.h"

#include <algorithm>
#include <cmath>

#include "engine/layers.h"
#include "engine/tape.h"
#include "kernels/launch/check.h"
#include "model/faster_rcnn.h"
#include "model/import_setup.h"
#include "model/options.h"
#include "tests/model/weight_import_support.h"
#include "tests/support/catch.h"
#include "weights/checkpoint.h"

namespace frcnn {
namespace {

using State = ImportRow::State;
using Arrays = std::vector<std::pair<std::string, Shape>>;

/// VGG16 as Keras has it; `hidden` 0 leaves the dense layers out.
Arrays keras_vgg16(int64_t hidden) {
  Arrays arrays;
  int64_t in = 3;
  for (const LayerSpec& layer : vgg16_spec().layers) {
    if (layer.type != LayerSpec::Type::conv) continue;
    const std::string name = "block" + layer.name.substr(4, 1) + "_conv" + layer.name.substr(6);
    arrays.push_back({name + "/kernel", Shape{3, 3, in, layer.channels}});
    arrays.push_back({name + "/bias", Shape{layer.channels}});
    in = layer.channels;
  }
  if (hidden == 0) return arrays;
  int64_t inputs = 25088;
  for (const auto& [name, outputs] : {std::pair("fc1", hidden), std::pair("fc2", hidden),
                                      std::pair("predictions", int64_t{1000})}) {
    arrays.push_back({fmt::format("{}/kernel", name), Shape{inputs, outputs}});
    arrays.push_back({fmt::format("{}/bias", name), Shape{outputs}});
    inputs = outputs;
  }
  return arrays;
}

/// The spec of VGG16 with the few channels of tests/golden/make_keras.py.
BackboneSpec narrow_vgg16() {
  BackboneSpec spec = vgg16_spec();
  for (LayerSpec& layer : spec.layers)
    if (layer.type == LayerSpec::Type::conv) layer.channels = 1 + layer.name[4] - '0';
  return spec;
}

ModelConfig tiny_config() {
  ModelConfig config;
  config.backbone.name = "tiny";
  config.backbone.tiny_channels = {4, 6};
  config.backbone.tiny_strides = {2, 2};
  config.backbone.batch_norm = false;
  config.backbone.frozen_until = "";
  config.anchors.sizes = {16, 32};
  config.anchors.ratios = {1};
  config.rpn.channels = 5;
  config.roi.pooled_height = config.roi.pooled_width = 2;
  config.roi.hidden = {8, 7};
  return config;
}

std::vector<float> values_of(const FasterRcnn& model, const std::string& name) {
  return model.parameters().find(name)->tensor.to_vector<float>();
}

std::string refusal(const WeightFile& file, const FasterRcnn& model, const ImportOptions& options) {
  try {
    import_weights(file, import_target(model), options);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST_CASE("A22: VGG16 of Keras has 14,714,688 parameters, 138,357,544 with top; all have a place") {
  const int64_t counts[] = {1792,    36928,   73856,   147584,  295168,  590080, 590080,
                            1180160, 2359808, 2359808, 2359808, 2359808, 2359808};
  const Arrays arrays = keras_vgg16(4096);
  int64_t total = 0;
  for (size_t i = 0; i < arrays.size(); i += 2) {
    const int64_t count = arrays[i].second.numel() + arrays[i + 1].second.numel();
    if (i / 2 < std::size(counts)) CHECK(count == counts[i / 2]);
    total += count;
    if (i / 2 == 12) CHECK(total == 14714688);
  }
  CHECK(total == 138357544);
  const test::FakeWeights file("Keras HDF5", WeightOrder::keras, arrays);
  ModelConfig config;  // the paper's: VGG16, fc6 and fc7 of 4096
  const FasterRcnn model(config, 20, 1, DType::f32, /*fill=*/false);
  CHECK(model.parameters().count("backbone.") == 14714688);
  const ImportPlan plan = plan_import(file, import_target(model), {});
  CHECK(plan.scheme == NameScheme::keras);
  CHECK(plan.count(State::matched) == 26 + 4);
  CHECK(plan.count(State::left_out) == 2);  // predictions
  CHECK(plan.count(State::missing) + plan.count(State::unexpected) +
            plan.count(State::mismatched) ==
        0);
  CHECK(plan.preprocess->mean == std::vector<double>{103.939, 116.779, 123.68});
  CHECK(plan.preprocess->channels == "bgr");
  // What the paper's code made of pictures is not what Keras does.
  CHECK_THROWS_WITH(check_plan(file, plan, import_target(model), {}),
                    test::mentions("preprocess.mean = [103.939, 116.779, 123.68]") &&
                        test::mentions("102.98") && test::mentions("weights_preprocess"));
}

TEST_CASE("import: files of real Keras compute what Keras computed, in every layout") {
  const auto input = test::golden_f32("keras_expected", "input");
  const auto features = test::golden_f32("keras_expected", "features");
  const auto dense = test::golden_f32("keras_expected", "dense");
  Tensor image = Tensor::empty({1, 3, 32, 32});
  for (int64_t c = 0; c < 3; ++c)
    for (int64_t i = 0; i < 1024; ++i)
      image.data<float>()[c * 1024 + i] = input.values[static_cast<size_t>(i * 3 + c)];
  for (const char* name :
       {"keras1_weights.h5", "keras2_weights.h5", "keras2_model.h5", "keras2_chunked.h5",
        "keras2_model.keras", "keras3.weights.h5", "keras3_model.h5", "keras3_model.keras"}) {
    INFO(name);
    const BackboneSpec spec = narrow_vgg16();
    ModelConfig config;
    config.backbone.frozen_until = "";
    config.roi.hidden = {7, 5};
    config.roi.pooled_height = config.roi.pooled_width = 2;
    config.preprocess.mean = {103.939, 116.779, 123.68};
    Parameters parameters(1);
    BackboneConfig backbone_config = config.backbone;
    const Backbone backbone(spec, backbone_config, parameters);
    const Linear fc6(parameters, "head.fc6", 24, 7, true, {});
    const Linear fc7(parameters, "head.fc7", 7, 5, true, {});
    const auto file = WeightFile::open(test::source_dir() / "tests/golden" / name);
    const std::vector<std::string> log = import_weights(*file, {&parameters, &spec, &config}, {});
    CHECK(log.size() == 1);
    CHECK_THAT(log[0], test::mentions("26 arrays of the backbone, 4 of the head (fc6 fc7)"));
    const Tensor map = backbone.forward(image, false);
    FRCNN_CHECK_SAME(map.to_vector<float>(), features.values, 1e-5, 1e-5);
    const Tensor flat = Tensor::from(Shape{1, 24}, map.to_vector<float>());
    const Tensor out = fc7.forward(fc6.forward(flat));
    FRCNN_CHECK_SAME(out.to_vector<float>(), dense.values, 1e-5, 1e-5);
  }
}

TEST_CASE("import: genuine ImageNet kernels give the activations of block 2 on real pictures") {
  FRCNN_REQUIRE_REAL_DATA(data);
  const test::TempDir dir;
  std::vector<test::KerasArray> arrays;
  for (const char* layer : {"block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2"}) {
    for (const auto& [array, suffix] :
         {std::pair("kernel", "_kernel_HWIO"), std::pair("bias", "_bias")}) {
      const auto npy =
          WeightFile::open(data / "vgg16_partial" / fmt::format("{}{}.npy", layer, suffix));
      const Tensor values = npy->read(npy->entries().front());
      arrays.push_back({layer, array, values.shape(), values.to_vector<float>()});
    }
  }
  test::write_keras(dir.path() / "vgg16.h5", arrays);
  BackboneSpec spec = vgg16_spec();
  spec.layers.resize(5);
  ModelConfig config;
  config.preprocess.mean = {103.939, 116.779, 123.68};
  Parameters parameters(1);
  const Backbone backbone(spec, config.backbone, parameters);
  const auto file = WeightFile::open(dir.path() / "vgg16.h5");
  import_weights(*file, {&parameters, &spec, &config}, {});
  for (const std::string& picture : test::golden_members("vgg16_block2", "/")) {
    INFO(picture);
    const auto rgb = test::golden_f32("vgg16_block2", picture + "/rgb");
    const auto places = test::golden_i64("vgg16_block2", picture + "/places");
    const auto expected = test::golden_f32("vgg16_block2", picture + "/activations");
    const int64_t h = rgb.shape[0], w = rgb.shape[1];
    Tensor image = Tensor::empty({1, 3, h, w});
    for (int64_t c = 0; c < 3; ++c)  // blue, green, red
      for (int64_t i = 0; i < h * w; ++i)
        image.data<float>()[c * h * w + i] =
            static_cast<float>(static_cast<double>(rgb.values[static_cast<size_t>(i * 3 + 2 - c)]) -
                               config.preprocess.mean[static_cast<size_t>(c)]);
    const Tensor map = backbone.forward(image, false);
    const std::vector<float> values = map.to_vector<float>();
    std::vector<float> found;
    const int64_t area = map.dim(2) * map.dim(3);
    for (int64_t p = 0; p < places.shape[0]; ++p)
      for (int64_t c = 0; c < 128; ++c)
        found.push_back(values[static_cast<size_t>(
            c * area + places.values[static_cast<size_t>(2 * p)] * map.dim(3) +
            places.values[static_cast<size_t>(2 * p + 1)])]);
    CHECK(*std::max_element(found.begin(), found.end()) > 100);
    // Activations reach hundreds: 1e-4 of the largest, and each to 1e-4 of itself or 1e-3.
    FRCNN_CHECK_SAME(found, expected.values, 1e-4, 1e-3);
    CHECK(test::relative_l2(found, expected.values) < 1e-6);
  }
}

TEST_CASE("import: names of torchvision's nets and detectors") {
  const Arrays vgg = {{"features.0.weight", {64, 3, 3, 3}}, {"classifier.0.weight", {4096, 25088}}};
  const test::FakeWeights file("PyTorch (zip)", WeightOrder::torch, vgg);
  CHECK(recognise_names(file) == NameScheme::torchvision);
  const NameTable table(file, NameScheme::torchvision, vgg16_spec(), 2);
  const int places[] = {0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28};
  size_t i = 0;
  for (const LayerSpec& layer : vgg16_spec().layers)
    if (layer.type == LayerSpec::Type::conv)
      CHECK(table.find(fmt::format("features.{}.weight", places[i++]))->parameter ==
            "backbone." + layer.name + ".weight");
  CHECK(table.find("module.classifier.3.bias")->parameter == "head.fc7.bias");
  CHECK(table.find("classifier.6.bias")->parameter.empty());
  CHECK(!table.find("features.1.weight"));
  const NameTable alexnet(file, NameScheme::torchvision, alexnet_spec(), 2);
  CHECK(alexnet.find("features.10.weight")->parameter == "backbone.conv5.weight");
  CHECK(alexnet.find("classifier.1.weight")->parameter == "head.fc6.weight");
  const NameTable detector(file, NameScheme::torchvision_detector, vgg16_spec(), 2);
  for (const auto& [theirs, ours] :
       {std::pair("backbone.28.bias", "backbone.conv5_3.bias"),
        std::pair("backbone.features.2.weight", "backbone.conv1_2.weight"),
        std::pair("rpn.head.conv.0.0.weight", "rpn.conv.weight"),
        std::pair("rpn.head.conv.weight", "rpn.conv.weight"),
        std::pair("rpn.head.cls_logits.bias", "rpn.cls.bias"),
        std::pair("roi_heads.box_head.fc6.weight", "head.fc6.weight"),
        std::pair("roi_heads.box_head.3.weight", "head.fc7.weight"),
        std::pair("roi_heads.box_predictor.bbox_pred.weight", "head.box.weight")})
    CHECK(detector.find(theirs)->parameter == ours);
  const test::FakeWeights complete("PyTorch (zip)", WeightOrder::torch,
                                   {{"model.roi_heads.box_predictor.cls_score.weight", {3, 8}}});
  CHECK(recognise_names(complete) == NameScheme::torchvision_detector);
}

/// A detector of py-faster-rcnn around the tiny backbone.
Arrays caffe_detector() {
  return {{"conv1/weight", {4, 3, 3, 3}},
          {"conv1/bias", {1, 1, 1, 4}},
          {"conv2/weight", {6, 4, 3, 3}},
          {"conv2/bias", {6}},
          {"rpn_conv/3x3/weight", {5, 6, 3, 3}},
          {"rpn_conv/3x3/bias", {5}},
          {"rpn_cls_score/weight", {4, 5, 1, 1}},
          {"rpn_cls_score/bias", {4}},
          {"rpn_bbox_pred/weight", {8, 5, 1, 1}},
          {"rpn_bbox_pred/bias", {8}},
          {"fc6/weight", {1, 1, 8, 24}},
          {"fc6/bias", {8}},
          {"fc7/weight", {7, 8}},
          {"fc7/bias", {7}},
          {"cls_score/weight", {3, 7}},
          {"cls_score/bias", {3}},
          {"bbox_pred/weight", {12, 7}},
          {"bbox_pred/bias", {12}}};
}

TEST_CASE("import: a detector of py-faster-rcnn gets our order of scores and normalised boxes") {
  const test::FakeWeights file("Caffe", WeightOrder::torch, caffe_detector());
  ModelConfig config = tiny_config();
  config.roi.box_mean = {0.5, 0, -1, 2};
  const FasterRcnn model(config, 2);
  ImportOptions options;
  options.scope = ImportOptions::Scope::detector;
  import_weights(file, import_target(model), options);
  // Theirs: background of anchors 0 and 1, then objects of 0 and 1. Ours: pairs.
  CHECK(values_of(model, "rpn.cls.bias") == std::vector<float>{0, 2, 1, 3});
  const std::vector<float> scores = values_of(model, "rpn.cls.weight");
  CHECK(scores[5] == 10);  // object of anchor 0 is their row 2
  CHECK(scores[10] == 5);  // background of anchor 1 is their row 1
  CHECK(values_of(model, "rpn.box.bias")[7] == 7);
  const std::vector<float> bias = values_of(model, "head.box.bias");
  const std::vector<float> weight = values_of(model, "head.box.weight");
  for (size_t r = 0; r < 12; ++r) {
    const double std = config.roi.box_std[r % 4], mean = config.roi.box_mean[r % 4];
    CHECK(bias[r] == Approx((static_cast<double>(r) - mean) / std));
    CHECK(weight[r * 7 + 3] == Approx(static_cast<double>(r * 7 + 3) / std));
  }
  CHECK(values_of(model, "head.fc6.weight")[100] == 100);
  CHECK(values_of(model, "head.cls.weight")[20] == 20);
}

TEST_CASE("import: settings follow from the file of a detector") {
  Arrays arrays = {{"rpn_conv/3x3/weight", {512, 512, 3, 3}},
                   {"rpn_cls_score/weight", {18, 512, 1, 1}},
                   {"rpn_bbox_pred/weight", {36, 512, 1, 1}},
                   {"fc6/weight", {64, 25088}},
                   {"fc7/weight", {32, 64}},
                   {"cls_score/weight", {21, 32}},
                   {"bbox_pred/weight", {84, 32}},
                   {"conv1_1/weight", {64, 3, 3, 3}}};
  const ImportSetup caffe =
      setup_for(test::FakeWeights("Caffe", WeightOrder::torch, arrays), "", {});
  CHECK(caffe.detector);
  CHECK(caffe.config.model.backbone.name == "vgg16");
  CHECK(caffe.config.model.backbone.ceil_mode);
  CHECK(caffe.config.model.roi.hidden == std::vector<int>{64, 32});
  CHECK(caffe.config.model.roi.pooled_height == 7);
  CHECK(caffe.config.model.anchors.sizes.size() == 3);
  CHECK(caffe.made_names);
  CHECK(caffe.classes[14] == "person");
  CHECK(caffe.config.model.backbone.frozen_until == "conv2_2");
  const test::FakeWeights zf("Caffe", WeightOrder::torch,
                             {{"conv1/weight", {96, 3, 7, 7}},
                              {"conv2/weight", {256, 96, 5, 5}},
                              {"fc6/weight", {4096, 9216}}});
  const ImportSetup zf_setup = setup_for(zf, "", {});
  CHECK(!zf_setup.detector);
  CHECK(zf_setup.config.model.backbone.name == "zf");
  CHECK(zf_setup.config.model.backbone.frozen_until.empty());
  CHECK(zf_setup.config.model.roi.pooled_height == 6);
  arrays = {{"backbone.0.weight", {64, 3, 3, 3}},
            {"rpn.head.conv.0.0.weight", {512, 512, 3, 3}},
            {"rpn.head.cls_logits.weight", {15, 512, 1, 1}},
            {"rpn.head.bbox_pred.weight", {60, 512, 1, 1}},
            {"roi_heads.box_head.fc6.weight", {1024, 25088}},
            {"roi_heads.box_head.fc7.weight", {1024, 1024}},
            {"roi_heads.box_predictor.cls_score.weight", {3, 1024}},
            {"roi_heads.box_predictor.bbox_pred.weight", {12, 1024}}};
  const ImportSetup torch =
      setup_for(test::FakeWeights("safetensors", WeightOrder::torch, arrays), "", {"cat", "dog"});
  CHECK(torch.classes == std::vector<std::string>{"cat", "dog"});
  CHECK(torch.config.model.anchors.sizes == std::vector<double>{32, 64, 128, 256, 512});
  CHECK(torch.config.model.rpn.objectness == "sigmoid");
  CHECK(torch.config.model.preprocess.channels == "rgb");
  CHECK_THROWS_WITH(
      setup_for(test::FakeWeights("safetensors", WeightOrder::torch, arrays), "", {"cat"}),
      test::mentions("scores 2 classes and the background, 1 names were given"));
  CHECK_THROWS_WITH(
      setup_for(test::FakeWeights("NumPy", WeightOrder::torch, {{"x", Shape{1}}}), "", {}),
      test::mentions("no convolution of vgg16, zf or alexnet"));
}

TEST_CASE("import: what does not fit is named, and refused unless partial") {
  const FasterRcnn model(tiny_config(), 2);
  const auto file_of = [](const Arrays& arrays) {
    return test::FakeWeights("NumPy", WeightOrder::torch, arrays);
  };
  const Arrays good = {{"conv1.weight", {4, 3, 3, 3}},
                       {"conv1.bias", {4}},
                       {"conv2.weight", {6, 4, 3, 3}},
                       {"conv2.bias", {6}}};
  CHECK(refusal(file_of(good), model, {}) == "accepted");
  Arrays arrays = good;
  arrays.pop_back();
  CHECK_THAT(refusal(file_of(arrays), model, {}), test::mentions("1 missing: backbone.conv2.bias"));
  arrays = good;
  arrays[0].second = Shape{4, 3, 5, 5};
  CHECK_THAT(refusal(file_of(arrays), model, {}),
             test::mentions("1 shape mismatch: conv1.weight (4, 3, 5, 5) for backbone.conv1.weight "
                            "(4, 3, 3, 3)"));
  // The same number of elements is not the same shape.
  arrays[0].second = Shape{4, 27, 1, 1};
  CHECK_THAT(refusal(file_of(arrays), model, {}), test::mentions("1 shape mismatch"));
  arrays = good;
  arrays.push_back({"conv9.weight", {1}});
  CHECK_THAT(refusal(file_of(arrays), model, {}), test::mentions("1 unexpected: conv9.weight"));
  ImportOptions options;
  options.partial = true;
  CHECK(refusal(file_of(arrays), model, options) == "accepted");
  CHECK_THAT(refusal(file_of({{"x", Shape{1}}}), model, options),
             test::mentions("none of its 1 arrays has a place"));
  const std::string table = plan_import(file_of(arrays), import_target(model), {}).text();
  CHECK_THAT(table, test::mentions("unexpected      conv9.weight (1)") &&
                        test::mentions("4 matched, 0 left out by design, 0 shape mismatch, 1 "
                                       "unexpected, 0 missing"));
}

TEST_CASE("import: arrays of any names get their places by a map") {
  const FasterRcnn model(tiny_config(), 2);
  const test::FakeWeights file("Keras HDF5", WeightOrder::keras,
                               {{"first/kernel", {3, 3, 3, 4}},
                                {"first/bias", {4}},
                                {"second/kernel", {3, 3, 4, 6}},
                                {"second/bias", {6}},
                                {"extra/kernel", {2}}});
  ImportOptions options;
  options.map = {{"first/*", "backbone.conv1.*"},
                 {"second/kernel", "backbone.conv2.weight"},
                 {"second/bias", "backbone.conv2.bias"},
                 {"extra/kernel", ""}};
  CHECK(refusal(file, model, options) == "accepted");
  // HWIO to OIHW: element (o, i, y, x) comes from ((y 3 + x) in + i) out + o.
  const std::vector<float> weight = values_of(model, "backbone.conv2.weight");
  CHECK(weight[((5 * 4 + 2) * 3 + 1) * 3 + 2] == ((1 * 3 + 2) * 4 + 2) * 6 + 5);
  const auto says = [&](const std::pair<std::string, std::string>& pair, const std::string& part) {
    ImportOptions wrong;
    wrong.map = {pair};
    CHECK_THROWS_AS(plan_import(file, import_target(model), wrong), UsageError);
    CHECK_THROWS_WITH(plan_import(file, import_target(model), wrong), test::mentions(part));
  };
  says({"first/kernel", "backbone.conv7.weight"}, "no parameter \"backbone.conv7.weight\"");
  says({"third/kernel", "backbone.conv1.weight"}, "has no such array");
  says({"first/*", "backbone.conv1.weight"}, "both names end in *");
}

TEST_CASE("import: numbers that are not finite are warned of by name") {
  const FasterRcnn model(tiny_config(), 2);
  const test::FakeWeights file("NumPy", WeightOrder::torch,
                               {{"conv1.weight", {4, 3, 3, 3}},
                                {"conv1.bias", {4}},
                                {"conv2.weight", {6, 4, 3, 3}},
                                {"conv2.bias", {6}}},
                               [](const WeightEntry& entry, int64_t i) {
                                 return entry.name == "conv2.weight" && i % 100 == 7 ? std::nanf("")
                                                                                     : 1.0f;
                               });
  const std::vector<std::string> log = import_weights(file, import_target(model), {});
  REQUIRE(log.size() == 2);
  CHECK_THAT(log[1],
             test::mentions("3 of the 216 numbers of \"conv2.weight\" are NaN or infinite"));
}

TEST_CASE("import: a checkpoint comes back bit for bit, its pictures must agree") {
  const test::TempDir dir;
  const ModelConfig config = tiny_config();
  const FasterRcnn model(config, 2, 5);
  Checkpoint checkpoint;
  Config whole;
  whole.model = config;
  checkpoint.config = to_toml(whole);
  checkpoint.classes = {"cat", "dog"};
  for (const Parameter& p : model.parameters().all())
    checkpoint.parameters.emplace(p.name, p.tensor);
  save_checkpoint(dir.path() / "m.h5", checkpoint);
  const auto file = WeightFile::open(dir.path() / "m.h5");
  const FasterRcnn other(config, 2, 6);
  ImportOptions options;
  options.scope = ImportOptions::Scope::detector;
  import_weights(*file, import_target(other), options);
  for (const Parameter& p : model.parameters().all())
    CHECK(values_of(other, p.name) == p.tensor.to_vector<float>());
  // As weights of a backbone: fc6 and fc7 go along, the outputs do not.
  const FasterRcnn third(config, 2, 7);
  import_weights(*file, import_target(third), {});
  CHECK(values_of(third, "head.fc7.weight") == values_of(model, "head.fc7.weight"));
  CHECK(values_of(third, "head.cls.weight") != values_of(model, "head.cls.weight"));
  ModelConfig rgb = config;
  rgb.preprocess.channels = "rgb";
  const FasterRcnn fourth(rgb, 2);
  CHECK_THAT(refusal(*file, fourth, {}), test::mentions("preprocess.channels = \"bgr\""));
  options.any_preprocess = true;
  CHECK(refusal(*file, fourth, options) == "accepted");
}

TEST_CASE("import: pictures are compared by what they make of a pixel") {
  PreprocessConfig a, b;
  a.channels = b.channels = "rgb";
  a.scale = 1.0 / 255;
  a.mean = {0.485, 0.456, 0.406};
  a.stddev = {0.229, 0.224, 0.225};
  b.scale = 1;
  b.mean = {123.675, 116.28, 103.53};
  b.stddev = {58.395, 57.12, 57.375};
  CHECK(same_pictures(a, b));
  b.mean[1] += 1;
  CHECK(!same_pictures(a, b));
}

}  // namespace
}  // namespace frcnn
