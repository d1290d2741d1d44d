#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "apps/commands.h"
#include "apps/data_option.h"
#include "apps/show_pictures.h"
#include "kernels/launch/check.h"
#include "model/options.h"

namespace frcnn::apps {
namespace {

namespace fs = std::filesystem;

struct ShowCommand {
  std::string what;
  ShowArguments source;
  ShowChoices choices;
  std::string out = ".", cell;
};

const ShowKind& kind_named(const std::string& name) {
  const auto& kinds = show_kinds();
  const auto found =
      std::ranges::find_if(kinds, [&](const ShowKind& kind) { return name == kind.name; });
  if (found != kinds.end()) return *found;
  std::string names;
  for (const ShowKind& kind : kinds) names += fmt::format(" {}", kind.name);
  throw UsageError(fmt::format("show: expected one of{}, got \"{}\"", names, name));
}

/// The names between the commas.
std::vector<std::string> kinds_in(const std::string& what) {
  std::vector<std::string> kinds;
  for (size_t at = 0; at <= what.size();) {
    const size_t end = std::min(what.find(',', at), what.size());
    kinds.emplace_back(kind_named(what.substr(at, end - at)).name);
    at = end + 1;
  }
  return kinds;
}

void read_cell(const std::string& text, ShowChoices& choices) {
  if (text.empty()) return;
  long row = -1, column = -1;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%ld,%ld%c", &row, &column, &rest) != 2 || row < 0 || column < 0)
    throw UsageError(fmt::format("--cell: expected ROW,COLUMN from 0 on, got \"{}\"", text));
  choices.row = row;
  choices.column = column;
}

void write_all(const std::vector<NamedPicture>& pictures, const fs::path& folder,
               const std::string& id) {
  std::error_code error;
  fs::create_directories(folder, error);
  check(!error, "{}: cannot make the folder: {}", folder.string(), error.message());
  for (const NamedPicture& picture : pictures) {
    const fs::path file =
        folder / ((id.empty() ? picture.suffix : id + "-" + picture.suffix) + ".png");
    write_image(picture.image, file);
    std::printf("%s  %s\n", file.c_str(), picture.line.c_str());
  }
  std::fflush(stdout);
}

int show(const ShowCommand& command) {
  bool needs_model = false, needs_picture = false;
  const std::vector<std::string> kinds = kinds_in(command.what);
  for (const std::string& name : kinds) {
    needs_model |= kind_named(name).needs_model;
    needs_picture |= kind_named(name).needs_picture;
  }
  ShowChoices choices = command.choices;
  read_cell(command.cell, choices);
  const ShowArguments& source = command.source;
  const bool given = !source.model.empty() || !source.config.empty() || !source.preset.empty();
  // A checkpoint knows its classes; settings take those of the data set.
  std::optional<ShownModel> model;
  if (!source.model.empty()) model.emplace(source, std::vector<std::string>{});
  const Config config = model ? model->config() : given ? shown_config(source) : Config();
  ShownSet set;
  if (needs_picture)
    set = shown_pictures(source, config.data, model ? model->classes() : config.data.classes);
  const Dataset& dataset = set.dataset;
  if (needs_model && !model) model.emplace(source, dataset.class_names);
  for (const std::string& name : kinds)
    if (!kind_named(name).needs_picture)
      write_all(draw(name, &*model, nullptr, dataset.class_names, choices), command.out, "");
  for (const size_t i : set.chosen) {
    const ShownPicture picture =
        shown_picture(dataset, i, config.model.preprocess, config.data.use_difficult);
    for (const std::string& name : kinds)
      if (name == "augment")
        write_all({augmentations(dataset, i, config, choices.epochs)}, command.out, picture.id);
      else if (kind_named(name).needs_picture)
        write_all(draw(name, model ? &*model : nullptr, &picture, dataset.class_names, choices),
                  command.out, picture.id);
  }
  return kDone;
}

std::string footer() {
  std::string text = "Pictures (several with commas between them):\n";
  for (const ShowKind& kind : show_kinds())
    text += fmt::format("  {:<15} {}\n", kind.name, kind.help);
  return text +
         "Example: frcnn show truth,tiles,inside-anchors --preset paper-vgg16 --data VOC2007 "
         "--image 000005 --out pictures";
}

}  // namespace

void add_show(CLI::App& app, Action& action) {
  auto a = std::make_shared<ShowCommand>();
  CLI::App* command = app.add_subcommand(
      "show", "draw what a detector works with: ground truth, anchors, samples, proposals, maps");
  command->add_option("WHAT", a->what, "which pictures, see below")->required();
  command->add_option("MODEL", a->source.model, "checkpoint, or folder of a run");
  command->add_option("--config", a->source.config, "settings instead of a model: an untrained one")
      ->type_name("FILE");
  command->add_option("--preset", a->source.preset, "settings that come with the program")
      ->type_name("NAME");
  command->add_option("--set", a->source.settings, "change one setting: --set rpn.batch=64")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
  add_data_option(*command, a->source.data);
  command->add_option("--split", a->source.split, "its split")->capture_default_str();
  command->add_option("--image", a->source.images, "id of a picture of the data set; repeat it")
      ->type_name("ID")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
  command->add_option("--count", a->source.count, "without --image: the first so many pictures")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--picture", a->source.picture, "a picture file instead of a data set")
      ->type_name("FILE");
  command->add_option("--out", a->out, "folder for the PNG files")
      ->type_name("DIR")
      ->capture_default_str();
  command->add_option("--cell", a->cell, "tile of tiles and base-anchors; default: the middle one")
      ->type_name("ROW,COLUMN");
  command
      ->add_option("--pass", a->choices.pass,
                   "samples: the pass of training whose random numbers they have")
      ->capture_default_str();
  command->add_option("--top", a->choices.top, "proposals: how many are drawn")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--score", a->choices.score, "detections: least score")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--channels", a->choices.channels, "features: how many are drawn")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--epochs", a->choices.epochs, "augment: of how many epochs")
      ->check(CLI::Range(1, 99))
      ->capture_default_str();
  command->add_flag("--common-scale", a->choices.common_scale,
                    "features: one range of gray for all channels");
  command->footer(footer());
  command->callback([&action, a] { action = [a] { return show(*a); }; });
}

}  // namespace frcnn::apps
