#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "apps/dataset_io.h"
#include "apps/model_file.h"
#include "apps/run_folder.h"
#include "apps/terminal.h"
#include "apps/weights_report.h"
#include "data/formats.h"
#include "data/image.h"
#include "data/yolo.h"
#include "kernels/launch/check.h"
#include "model/options.h"
#include "model/quantize.h"
#include "weights/checkpoint.h"

namespace frcnn::apps {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct InspectArguments {
  std::string path, split = "all";
  bool json = false, tensors = false, strict = false;
};

/// What inspect says: lines for a reader, and the same as JSON.
struct Findings {  // NOLINT(bugprone-exception-escape): of the JSON library's move
  std::string text;
  Json json;
};

Json tensor_list(const TensorMap& tensors) {
  Json list = Json::array();
  for (const auto& [name, tensor] : tensors)
    list.push_back({{"name", name},
                    {"shape", std::vector<int64_t>(tensor.shape().dims().begin(),
                                                   tensor.shape().dims().end())},
                    {"type", name_of(tensor.dtype())}});
  return list;
}

int64_t elements(const TensorMap& tensors) {
  int64_t count = 0;
  for (const auto& [name, tensor] : tensors) count += tensor.numel();
  return count;
}

Findings inspect_checkpoint(const fs::path& file, bool tensors) {
  const Checkpoint c = load_checkpoint(file);
  const Config config = parse_config(c.config, file.string() + " (config)");
  const PreprocessConfig& p = config.model.preprocess;
  Findings out;
  std::string classes;
  for (const std::string& name : c.classes) classes += (classes.empty() ? "" : ", ") + name;
  out.text = fmt::format(
      "{}: checkpoint, format version {}, written by frcnn {}\n"
      "backbone    {}\nclasses     {}: {}\nparameters  {} tensors, {} numbers\n"
      "buffers     {} tensors\noptimiser   {} tensors, {} numbers\naverages    {} tensors\n"
      "pictures    {}, scale {:g}, mean {:g} {:g} {:g}, stddev {:g} {:g} {:g}, shorter side {}, "
      "longer at most {}\n",
      file.string(), c.format_version(), c.program_version, config.model.backbone.name,
      c.classes.size(), classes, c.parameters.size(), elements(c.parameters), c.buffers.size(),
      c.optimizer.size(), elements(c.optimizer), c.averages.size(), p.channels, p.scale, p.mean[0],
      p.mean[1], p.mean[2], p.stddev[0], p.stddev[1], p.stddev[2], p.shorter_side, p.longer_side);
  if (is_int8(c)) out.text += fmt::format("precision   {}\n", int8_text(c));
  Json training = Json::object();
  for (const auto& [key, value] : c.training) {
    std::visit([&, &name = key](const auto& v) { training[name] = v; }, value);
    if (!key.starts_with("log."))
      out.text += fmt::format("{} {}\n", padded("  " + key, 11), training[key].dump());
  }
  const std::string md5 = state_md5(c);
  out.text += fmt::format("state md5   {}\n", md5);
  if (tensors)
    for (const auto& [name, tensor] : c.parameters)
      out.text += fmt::format("  {} {} {}\n", padded(name, 40), name_of(tensor.dtype()),
                              tensor.shape().string());
  out.json = {{"kind", "checkpoint"},
              {"file", file.string()},
              {"format_version", c.format_version()},
              {"program_version", c.program_version},
              {"classes", c.classes},
              {"training", training},
              {"state_md5", md5},
              {"parameters", tensor_list(c.parameters)},
              {"buffers", tensor_list(c.buffers)},
              {"optimizer", tensor_list(c.optimizer)},
              {"averages", tensor_list(c.averages)},
              {"int8", tensor_list(c.int8.tensors)},
              {"precision", is_int8(c) ? int8_text(c) : "f32"},
              {"config", c.config}};
  return out;
}

Findings inspect_config(const fs::path& file) {
  const Config config = load_config(file);
  Findings out;
  out.text = fmt::format(
      "{}: config, all settings are valid; those that differ from the default:\n", file.string());
  Json changed = Json::object();
  for (const OptionInfo& option : option_list()) {
    const auto value = get_option(config, option.key);
    if (value.value_or("") == option.default_value) continue;
    out.text += fmt::format(
        "  {} = {}{}\n", option.key, value.value_or(""),
        option.default_value.empty() ? "" : fmt::format("    (default {})", option.default_value));
    changed[option.key] = value.value_or("");
  }
  out.json = {{"kind", "config"},
              {"file", file.string()},
              {"changed", changed},
              {"resolved", to_toml(config)}};
  return out;
}

Findings inspect_picture(const fs::path& file) {
  const ImageInfo info = read_image_info(file);
  decode_image(file);  // a picture that cannot be decoded is an error
  Findings out;
  out.text = fmt::format("{}: picture, {} x {} pixels, EXIF orientation {}\n", file.string(),
                         info.width, info.height, info.orientation);
  out.json = {{"kind", "picture"},
              {"file", file.string()},
              {"width", info.width},
              {"height", info.height},
              {"orientation", info.orientation}};
  return out;
}

Findings inspect_dataset(const fs::path& path, const std::string& split, bool strict) {
  const DatasetFormat format = recognise_format(path);
  const Dataset set = open_dataset(path, split, DataConfig(), strict);
  require_not_empty(set, false);
  const DatasetSummary s = summarise(set);
  Findings out;
  out.text = describe(set) + findings_text(set, false);
  Json classes = Json::array(), findings = Json::array();
  for (const auto& c : s.classes)
    classes.push_back({{"name", c.name},
                       {"boxes", c.boxes},
                       {"images", c.images},
                       {"difficult", c.difficult},
                       {"truncated", c.truncated}});
  for (const Finding& f : set.findings) findings.push_back(to_string(f));
  std::string splits;
  for (const std::string& name : dataset_splits(path, format)) splits += " " + name;
  if (!splits.empty()) out.text += "splits:" + splits + "\n";
  out.json = {{"kind", "dataset"},      {"format", name_of(format)},
              {"name", set.name},       {"crowds", s.crowds},
              {"images", s.images},     {"images_without_objects", s.images_without_objects},
              {"boxes", s.boxes},       {"repaired", s.repaired},
              {"left_out", s.left_out}, {"classes", classes},
              {"findings", findings}};
  return out;
}

bool is_checkpoint(const fs::path& file) {
  return WeightFile::open(file)->format() == "frcnn checkpoint";
}

int inspect(const InspectArguments& arguments) {
  const fs::path path = arguments.path;
  check(fs::exists(path), "{}: there is no such file or folder", path.string());
  Findings out;
  if (fs::is_directory(path) && RunFolder(path).started())
    out = inspect_checkpoint(model_file(path), arguments.tensors);
  else if (fs::is_directory(path) || is_single_split(path) || is_yolo(path))
    out = inspect_dataset(path, arguments.split, arguments.strict);
  else if (path.extension() == ".toml")
    out = inspect_config(path);
  else if (has_image_extension(path))
    out = inspect_picture(path);
  else if (!is_checkpoint(path)) {
    const WeightsReport report = inspect_weights(path);
    std::fputs((arguments.json ? report.json : report.text).c_str(), stdout);
    return kDone;
  } else
    out = inspect_checkpoint(path, arguments.tensors);
  std::fputs(arguments.json ? (out.json.dump(2) + "\n").c_str() : out.text.c_str(), stdout);
  return kDone;
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  auto a = std::make_shared<InspectArguments>();
  CLI::App* command = app.add_subcommand(
      "inspect", "say what a config, checkpoint, file of weights, run, data set or picture holds");
  command
      ->add_option("PATH", a->path,
                   "config (.toml), checkpoint, weights of any format, run, data set or picture")
      ->required();
  command->add_option("--split", a->split, "split of a data set")->capture_default_str();
  command->add_flag("--tensors", a->tensors, "list the parameters of a checkpoint");
  command->add_flag("--strict", a->strict, "any defect of the data set is an error");
  command->add_flag("--json", a->json, "print as JSON");
  command->footer("Example: frcnn inspect VOC2007 --split trainval");
  command->callback([&action, a] { action = [a] { return inspect(*a); }; });
}

}  // namespace frcnn::apps
