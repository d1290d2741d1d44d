#include "model/options.h"

#include <fstream>
#include <sstream>

#include "kernels/launch/check.h"
#include "tests/support/catch.h"
#include "tests/support/support.h"

namespace frcnn {
namespace {

/// The message that parsing `text` (as file "c.toml") ends with.
std::string refusal(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    parse_config(text, "c.toml", overrides);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

TEST_CASE("A1 A5 A6 A9 A14 A18 A20 options: defaults are the paper's") {
  const Config config = parse_config("", "c.toml");
  const auto value = [&](const char* key) { return get_option(config, key).value_or("unset"); };
  CHECK(value("anchors.sizes") == "[128, 256, 512]");
  CHECK(value("anchors.ratios") == "[0.5, 1, 2]");
  CHECK(value("rpn.positive_iou") == "0.7");
  CHECK(value("rpn.negative_iou") == "0.3");
  CHECK(value("rpn.batch") == "256");
  CHECK(value("rpn.sigma") == "3");
  CHECK(value("rpn.train.pre_nms") == "12000");
  CHECK(value("rpn.train.post_nms") == "2000");
  CHECK(value("rpn.test.pre_nms") == "6000");
  CHECK(value("rpn.test.post_nms") == "300");
  CHECK(value("optimizer.lr") == "0.001");
  CHECK(value("optimizer.momentum") == "0.9");
  CHECK(value("optimizer.weight_decay") == "0.0005");
  CHECK(value("train.steps") == "80000");
  CHECK(value("optimizer.lr_steps") == "[0.75]");
  CHECK(value("preprocess.shorter_side") == "600");
  CHECK(value("preprocess.longer_side") == "1000");
  CHECK(value("optimizer.rpn.lr") == "unset");
}

TEST_CASE("options: every default is in its own range and reads back") {
  const Config config;
  CHECK(to_toml(parse_config(to_toml(config), "c.toml")) == to_toml(config));
  for (const OptionInfo& option : option_list()) {
    INFO(option.key);
    CHECK(!option.help.empty());
    Config changed;
    if (!option.default_value.empty())
      CHECK_NOTHROW(set_option(changed, option.key + "=" + option.default_value));
    CHECK(to_toml(changed) == to_toml(config));
  }
}

TEST_CASE("options: values of every type arrive") {
  const Config config = parse_config(R"(
[preprocess]
channels = "rgb"
mean = [1, 2.5, -3]
[rpn]
lambda = 10
match_best = false
[rpn.test]
post_nms = 50
[optimizer.rpn]
lr = 0.5
lr_steps = []
[train]
seed = 9007199254740993
[optimizer]
epsilon = 1e-9
lr = 1e-4
[data]
classes = ["a \"b\"", "ü\\"]
class_map = {van = "ü\\", "x \"y\"" = "a \"b\""}
)",
                                     "c.toml");
  CHECK(config.model.preprocess.channels == "rgb");
  CHECK(config.model.preprocess.mean == std::vector<double>{1, 2.5, -3});
  CHECK(config.model.rpn.lambda == 10);
  CHECK(!config.model.rpn.match_best);
  CHECK(config.model.rpn.test.post_nms == 50);
  CHECK(config.model.rpn.train.post_nms == 2000);
  CHECK(config.optimizer.rpn.lr == 0.5);
  CHECK((config.optimizer.rpn.lr_steps && config.optimizer.rpn.lr_steps->empty()));
  CHECK(!config.optimizer.backbone.lr);
  CHECK(config.train.seed == 9007199254740993u);
  CHECK(get_option(config, "optimizer.epsilon") == "1e-09");
  CHECK(get_option(config, "optimizer.lr") == "0.0001");
  CHECK(config.data.classes == std::vector<std::string>{"a \"b\"", "ü\\"});
  CHECK(config.data.class_map ==
        std::map<std::string, std::string>{{"van", "ü\\"}, {"x \"y\"", "a \"b\""}});
  CHECK(to_toml(parse_config(to_toml(config), "again")) == to_toml(config));
}

TEST_CASE("options: --set takes TOML values and bare strings") {
  const Config config =
      parse_config("[rpn]\nbatch = 3\n", "c.toml",
                   {"rpn.batch=64", "data.train_split = train+val", "data.val_split=2007",
                    "data.classes=[\"x\", 'y']", "rpn.objectness=\"sigmoid\"", "anchors.sizes=[8]",
                    "backbone.weights=/tmp/a b.h5", "backbone.frozen_until="});
  CHECK(config.model.rpn.batch == 64);
  CHECK(config.data.train_split == "train+val");
  CHECK(config.data.val_split == "2007");
  CHECK(config.data.classes == std::vector<std::string>{"x", "y"});
  CHECK(config.model.rpn.objectness == "sigmoid");
  CHECK(config.model.anchors.sizes == std::vector<double>{8});
  CHECK(config.model.backbone.weights == "/tmp/a b.h5");
  CHECK(config.model.backbone.frozen_until.empty());
}

TEST_CASE("options: an unknown key names file, line and the nearest key") {
  CHECK(refusal("[rpn]\nbatch = 1\npositve_iou = 0.5\n") ==
        "c.toml:3: unknown key 'rpn.positve_iou': did you mean 'rpn.positive_iou'?");
  CHECK(refusal("positive_iou = 0.5\n") ==
        "c.toml:1: unknown key 'positive_iou': did you mean 'rpn.positive_iou'?");
  CHECK(refusal("[optimiser]\nlr = 1\n") ==
        "c.toml:1: unknown section 'optimiser': did you mean 'optimizer'?");
  CHECK(refusal("[xyzzyqwertyuiop]\n") ==
        "c.toml:1: unknown section 'xyzzyqwertyuiop': `frcnn train --help-config` lists all keys");
  CHECK(refusal("", {"train.step=5"}) ==
        "--set train.step=5: unknown key 'train.step': did you mean 'train.steps'?");
  CHECK(refusal("", {"train=5"}) == "--set train=5: 'train' is a section; name one of its options");
  CHECK(refusal("", {"train.steps"}) == "--set train.steps: expected key=value");
}

TEST_CASE("options: a wrong type names expected and found") {
  CHECK(refusal("[rpn]\nbatch = \"many\"\n") ==
        "c.toml:2: rpn.batch must be an integer, found the string 'many'");
  CHECK(refusal("[rpn]\nbatch = 2.5\n") == "c.toml:2: rpn.batch must be an integer, found 2.5");
  CHECK(refusal("[rpn]\nmatch_best = 1\n") ==
        "c.toml:2: rpn.match_best must be a boolean, found 1");
  CHECK(refusal("[rpn]\nlambda = true\n") == "c.toml:2: rpn.lambda must be a number, found true");
  CHECK(refusal("[anchors]\nsizes = 128\n") ==
        "c.toml:2: anchors.sizes must be a list of numbers, found 128");
  CHECK(refusal("[anchors]\nsizes = [128, \"x\"]\n") ==
        "c.toml:2: anchors.sizes must be a list of numbers, found the string 'x'");
  CHECK(refusal("rpn = 3\n") == "c.toml:1: rpn must be a table of options, found 3");
  CHECK(refusal("[rpn.batch]\n") == "c.toml:1: rpn.batch must be an integer, found a table");
  CHECK(refusal("", {"rpn.batch=many"}) ==
        "--set rpn.batch=many: rpn.batch must be an integer in TOML syntax, found 'many'");
}

TEST_CASE("options: a value out of range names the range") {
  CHECK(refusal("[rpn]\npositive_iou = 1.5\n") ==
        "c.toml:2: rpn.positive_iou must be 0 to 1, found 1.5");
  CHECK(refusal("[rpn]\nlambda = nan\n") == "c.toml:2: rpn.lambda must be at least 0, found nan");
  CHECK(refusal("[preprocess]\nmean = [1, 2, inf]\n") ==
        "c.toml:2: preprocess.mean must be finite, found inf");
  CHECK(refusal("[preprocess]\nmean = [1, 2]\n") ==
        "c.toml:2: preprocess.mean must have 3 values, found 2");
  CHECK(refusal("[anchors]\nratios = []\n") == "c.toml:2: anchors.ratios must not be empty");
  CHECK(refusal("[anchors]\nratios = [1, 0]\n") ==
        "c.toml:2: anchors.ratios must be above 0, found 0");
  CHECK(refusal("[train]\nseed = -1\n").find("train.seed must be 0 to") != std::string::npos);
  CHECK(refusal("[backbone]\nname = \"vgg\"\n") ==
        "c.toml:2: backbone.name must be one of \"vgg16\", \"zf\", \"alexnet\", \"resnet18_v2\", "
        "\"tiny\", "
        "\"onnx\", found "
        "\"vgg\"");
  CHECK(refusal("[rpn]\nbatch = 99999999999\n") ==
        "c.toml:2: rpn.batch must be at least 1, found 99999999999");
}

TEST_CASE("options: relations between options are checked") {
  CHECK(refusal("[rpn]\nnegative_iou = 0.8\n") ==
        "c.toml: rpn.negative_iou = 0.8 must not be above rpn.positive_iou = 0.7");
  CHECK(refusal("[rpn]\nwindow = 2\n") == "c.toml: rpn.window = 2 must be odd");
  CHECK(refusal("", {"preprocess.shorter_side=2000"}).find("longer_side = 1000") !=
        std::string::npos);
  CHECK(refusal("[optimizer]\nlr = -0.1\n") ==
        "c.toml:2: optimizer.lr must be 0 to 10, found -0.1");
  CHECK(refusal("[backbone]\ntiny_strides = [1]\n").find("tiny_channels has 7 values") !=
        std::string::npos);
  CHECK(refusal("[roi]\nbackground_low = 0.6\n").find("roi.background_low") != std::string::npos);
  CHECK(refusal("[optimizer]\nlr_steps = [0.9, 0.6]\n") ==
        "c.toml: optimizer.lr_steps = [0.9, 0.6] must be in ascending order");
  CHECK(refusal("[train]\nsteps = 0\n").find("must be above 0") != std::string::npos);
  CHECK(refusal("[data]\nclasses = [\"a\", \"a\"]\n") == "c.toml: data.classes has 'a' twice");
  CHECK(refusal("[data]\nclasses = [\"background\"]\n").find("must not name the background") !=
        std::string::npos);
}

TEST_CASE("options: what is not TOML names the line") {
  CHECK(refusal("[rpn]\nbatch = = 3\n").starts_with("c.toml:2: not valid TOML: "));
  CHECK(refusal("[rpn]\nbatch = 3\nbatch = 4\n").starts_with("c.toml:3: not valid TOML: "));
  CHECK_THROWS_WITH(load_config("/nowhere/x.toml"),
                    "/nowhere/x.toml: cannot read the config: No such file or directory");
  CHECK_THROWS_WITH(load_config("/"), "/: is a folder, expected a TOML config file");
}

TEST_CASE("options: docs/config.md is the table") {
  std::ifstream file(test::source_dir() / "docs" / "config.md");
  std::ostringstream text;
  text << file.rdbuf();
  // Renew with: frcnn train --help-config markdown > docs/config.md
  CHECK(text.str() == options_markdown());
}

TEST_CASE("options: every preset in configs/ is accepted") {
  for (const auto& entry : std::filesystem::directory_iterator(test::source_dir() / "configs")) {
    if (entry.path().extension() != ".toml") continue;
    INFO(entry.path().string());
    // One needs a network that the user has.
    const bool own = entry.path().filename().string().starts_with("keras");
    const std::vector<std::string> settings(own ? 1 : 0, "backbone.onnx=\"net.onnx\"");
    CHECK_NOTHROW(load_config(entry.path(), settings));
  }
}

}  // namespace
}  // namespace frcnn
