#include "apps/show_pictures.h"

#include <array>
#include <filesystem>

#include "apps/commands.h"
#include "apps/show_source.h"
#include "data/files.h"
#include "data/synth.h"
#include "kernels/launch/check.h"
#include "tests/support/support.h"

namespace frcnn::apps {
namespace {

namespace fs = std::filesystem;

int run(const std::vector<std::string>& words) {
  std::vector<const char*> argv = {"frcnn"};
  for (const std::string& word : words) argv.push_back(word.c_str());
  return run_program(static_cast<int>(argv.size()), argv.data());
}

/// A small synthetic data set with a settings file for it.
struct ShowFolder {
  test::TempDir dir;
  fs::path data = dir.path() / "data", config = dir.path() / "small.toml";

  ShowFolder() {
    SynthOptions options;
    options.images = 4;
    options.width = 96;
    options.height = 80;
    options.max_size = 48;
    make_synthetic(data, options);
    write_file(config, std::string_view(R"(
[preprocess]
shorter_side = 80
[backbone]
name = "tiny"
frozen_until = ""
tiny_channels = [8, 8, 12]
tiny_strides = [2, 2, 2]
[anchors]
sizes = [16.0, 32.0]
rounding = "none"
[rpn]
channels = 12
batch = 32
train = { pre_nms = 100, post_nms = 20, nms_iou = 0.7, min_size = 2.0 }
test = { pre_nms = 100, post_nms = 10, nms_iou = 0.7, min_size = 2.0 }
[roi]
hidden = [16]
batch = 8
)"));
  }
};

}  // namespace

TEST_CASE("C8: one command draws ground truth, tiles, base anchors, all and inside anchors") {
  const ShowFolder folder;
  const fs::path out = folder.dir.path() / "out";
  for (const char* kind : {"truth", "tiles", "base-anchors", "anchors", "inside-anchors"}) {
    INFO(kind);
    REQUIRE(run({"show", kind, "--config", folder.config.string(), "--data", folder.data.string(),
                 "--out", (out / kind).string()}) == kDone);
    int files = 0;
    for (const auto& entry : fs::directory_iterator(out / kind)) {
      ++files;
      CHECK(entry.path().filename().string().ends_with("-" + std::string(kind) + ".png"));
      const Image image = decode_image(entry.path());
      CHECK(image.width >= 800);
    }
    CHECK(files == 1);
  }
}

TEST_CASE("C8: the anchors drawn are those that the model counts") {
  test::TempDir dir;
  const fs::path file = dir.path() / "grey.png";
  write_image(Image(800, 600, 128), file);
  ShowArguments arguments;
  arguments.preset = "paper-vgg16";
  arguments.settings = {"roi.hidden=[4]", "backbone.weights="};
  arguments.picture = file.string();
  const Dataset dataset = shown_pictures(arguments, DataConfig(), {"a"}).dataset;
  const ShownModel model(arguments, dataset.class_names);
  const ShownPicture picture = shown_picture(dataset, 0, model.config().model.preprocess, false);
  const auto line = [&](const char* kind) {
    return draw(kind, &model, &picture, model.classes(), {}).at(0).line;
  };
  CHECK(line("anchors") == "16650 of 16650 anchors");
  CHECK(line("inside-anchors") == "5700 of 16650 anchors");  // A19
  CHECK(line("tiles") == "37 x 50 tiles of 16 x 16 pixels");
  CHECK(line("base-anchors") == "9 anchors of the tile in row 18, column 25");
}

TEST_CASE("every kind of picture is drawn of a model without training") {
  const ShowFolder folder;
  const fs::path out = folder.dir.path() / "out";
  std::string kinds;
  for (const ShowKind& kind : show_kinds())
    kinds += (kinds.empty() ? "" : ",") + std::string(kind.name);
  REQUIRE(run({"show", kinds, "--config", folder.config.string(), "--data", folder.data.string(),
               "--count", "2", "--out", out.string()}) == kDone);
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(out)) {
    decode_image(entry.path());
    ++files;
  }
  // Samples are two pictures; filters belong to no picture.
  CHECK(files == 2 * (show_kinds().size() - 1 + 1) + 1);
  CHECK(fs::exists(out / "filters.png"));
}

TEST_CASE("samples are those of training, and as many as it draws") {
  const ShowFolder folder;
  ShowArguments arguments;
  arguments.config = folder.config.string();
  arguments.data = {folder.data.string()};
  const Dataset dataset = shown_pictures(arguments, DataConfig(), {}).dataset;
  const ShownModel model(arguments, dataset.class_names);
  const ShownPicture picture = shown_picture(dataset, 0, model.config().model.preprocess, false);
  ShowChoices choices;
  choices.pass = 7;
  const auto pictures = draw("samples", &model, &picture, dataset.class_names, choices);
  REQUIRE(pictures.size() == 2);
  std::optional<Samples> samples;
  model.model().losses(picture.input, {picture.truth}, {model.config().train.seed, 7}, &samples);
  CHECK(pictures[0].line ==
        fmt::format("{} positive and {} negative of {} anchors", samples->rpn.positives,
                    samples->rpn.sampled - samples->rpn.positives, samples->rpn.labels.dim(0)));
  CHECK(pictures[1].line == fmt::format("{} foreground of {} RoIs", samples->roi.foreground,
                                        samples->roi.labels.dim(0)));
}

TEST_CASE("show refuses what it cannot draw") {
  const ShowFolder folder;
  const std::string data = folder.data.string(), config = folder.config.string();
  const std::string out = (folder.dir.path() / "none").string();
  CHECK(run({"show", "nonsense", "--data", data, "--out", out}) == kUsage);
  CHECK(run({"show", "tiles", "--data", data, "--out", out}) == kUsage);
  CHECK(run({"show", "truth", "--out", out}) == kUsage);
  CHECK(run({"show", "tiles", "--config", config, "--data", data, "--cell", "99,0", "--out",
             out}) == kUsage);
  CHECK(run({"show", "tiles", "--config", config, "--data", data, "--cell", "1;2", "--out", out}) ==
        kUsage);
  CHECK(run({"show", "truth", "--data", data, "--image", "nobody", "--out", out}) == kFailed);
  CHECK(!fs::exists(out));
}

}  // namespace frcnn::apps
