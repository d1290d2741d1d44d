#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdio>
#include <memory>

#include "apps/batches.h"
#include "apps/commands.h"
#include "apps/data_option.h"
#include "apps/dataset_io.h"
#include "apps/model_file.h"
#include "apps/program_device.h"
#include "apps/stop_signal.h"
#include "apps/terminal.h"
#include "data/image.h"
#include "kernels/launch/check.h"
#include "model/detector.h"
#include "model/quantize.h"
#include "weights/checkpoint.h"

namespace frcnn::apps {
namespace {

namespace fs = std::filesystem;

struct QuantizeArguments {
  std::string model, split, out, range = "percentile";
  std::vector<std::string> data, keep;
  double percent = 99.99;
  int64_t images = 64;
  bool table = false;
};

RangeRule rule_of(const QuantizeArguments& arguments) {
  using Kind = RangeRule::Kind;
  if (arguments.range == "max") return {Kind::max, 100};
  if (arguments.range == "entropy") return {Kind::entropy, 100};
  return {Kind::percentile, arguments.percent};
}

/// Every k-th picture, so that the whole set has its share.
std::vector<size_t> spread(size_t pictures, int64_t wanted) {
  const size_t count = std::min(pictures, static_cast<size_t>(wanted));
  std::vector<size_t> chosen;
  for (size_t i = 0; i < count; ++i) chosen.push_back(i * pictures / count);
  return chosen;
}

void print_table(const Calibration& calibration, const RangeRule& rule) {
  std::printf("%-36s %12s %12s  %s\n", "input of", "largest", "limit", "integers");
  for (const auto& [name, range] : calibration.ranges())
    std::printf("%-36s %12.5g %12.5g  %s\n", name.c_str(), range.largest(),
                range.limit(rule, range.has_negative() ? 127 : 255),
                range.has_negative() ? "-127 to 127" : "0 to 255");
}

int quantize_model(const QuantizeArguments& arguments) {
  const fs::path file = model_file(arguments.model), out = arguments.out;
  check(!fs::exists(out) || !fs::equivalent(out, file),
        "--out {}: is the model itself; name another file", out.string());
  const Checkpoint checkpoint = load_checkpoint(file);
  require_float(checkpoint, file.string(), "be quantised again");
  const Detector detector = Detector::load(file);
  detector.require_head(file.string());
  detector.require_rpn(file.string());
  const DataConfig& config = detector.config().data;
  const Dataset dataset = open_for_detector(
      arguments.data, split_or_usual(arguments.data, arguments.split, config.train_split), config,
      detector.class_names(), false);
  require_not_empty(dataset, false);
  const std::vector<std::string> layers = int8_layers(detector.model(), arguments.keep);
  check(!layers.empty(), "{}: no layer is left to be quantised", file.string());
  const RangeRule rule = rule_of(arguments);
  const std::vector<size_t> chosen = spread(dataset.images.size(), arguments.images);
  std::printf("model     %s\ndata      %s: %zu of %zu pictures\n", file.c_str(),
              dataset.name.c_str(), chosen.size(), dataset.images.size());
  std::fflush(stdout);
  catch_stop_signals();
  const Calibration calibration(detector.model(), layers);
  {
    Progress progress("calibrate", static_cast<int64_t>(chosen.size()));
    for (size_t i = 0; i < chosen.size() && !stop_requested(); ++i) {
      const Image image = decode_image(dataset.images[chosen[i]].path);
      detector.detect(image.rgb.data(), image.width, image.height);
      progress.update(static_cast<int64_t>(i) + 1, "");
    }
    progress.finish();
  }
  if (stop_requested()) return stop_exit_code();
  const Checkpoint made =
      quantize(checkpoint, calibration, rule, static_cast<int64_t>(chosen.size()));
  save_checkpoint(out, made);
  if (arguments.table) print_table(calibration, rule);
  const auto mib = [](const fs::path& path) {
    return static_cast<double>(fs::file_size(path)) / (1 << 20);
  };
  std::printf("precision %s\nwrote     %s: %.1f MiB instead of %.1f MiB\n", int8_text(made).c_str(),
              out.c_str(), mib(out), mib(file));
  return kDone;
}

}  // namespace

void add_quantize(CLI::App& app, Action& action) {
  auto a = std::make_shared<QuantizeArguments>();
  CLI::App* command =
      app.add_subcommand("quantize", "make an 8-bit model for inference on the CPU");
  command->add_option("MODEL", a->model, "checkpoint, or folder of a run")->required();
  add_data_option(*command, a->data)->required();
  command->add_option("--split", a->split,
                      "split whose pictures show the ranges; default: data.train_split of the "
                      "model");
  command->add_option("--images", a->images, "pictures of it, evenly spread")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command->add_option("--range", a->range, "how ranges are chosen: max, percentile or entropy")
      ->check(CLI::IsMember({"max", "percentile", "entropy"}))
      ->type_name("RULE")
      ->capture_default_str();
  command->add_option("--percent", a->percent, "values within the range, with --range percentile")
      ->check(CLI::Range(50.0, 100.0))
      ->capture_default_str();
  command
      ->add_option("--keep", a->keep,
                   "layer that stays float32 (head.fc6, backbone.conv2*), may be repeated; the "
                   "first convolution and the predictors always do")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false)
      ->type_name("LAYER");
  command->add_flag("--table", a->table, "print the range of every layer's input");
  command->add_option("--out", a->out, "file to write")->required()->type_name("FILE");
  command->footer(
      "Example: frcnn quantize runs/first --data VOC2007 --images 64 --out model-int8.h5\n"
      "Example: frcnn eval model-int8.h5 --data VOC2007 --split test");
  command->callback([&action, a] { action = [a] { return quantize_model(*a); }; });
}

}  // namespace frcnn::apps
