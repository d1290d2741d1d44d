#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "apps/dataset_io.h"
#include "data/formats.h"
#include "data/writers.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

struct ConvertArguments {
  std::vector<std::string> sources, splits, classes, renames;
  std::string out, to, pictures = "copy", picture_folder;
  int coordinates = -1;
  bool strict = false, json = false;
};

DataConfig config_of(const ConvertArguments& arguments) {
  DataConfig config;
  config.classes = arguments.classes;
  config.pictures = arguments.picture_folder;
  config.coordinates = arguments.coordinates;
  for (const std::string& rename : arguments.renames) {
    const size_t equals = rename.find('=');
    if (equals == 0 || equals == std::string::npos || equals + 1 == rename.size())
      throw UsageError(fmt::format("--rename expects OLD=NEW, found '{}'", rename));
    config.class_map[rename.substr(0, equals)] = rename.substr(equals + 1);
  }
  return config;
}

/// The splits asked for, or all of the source. "trainval" is left out where train and val are
/// there, because readers join it from them.
std::vector<std::string> splits_of(const ConvertArguments& arguments) {
  if (!arguments.splits.empty()) return arguments.splits;
  const std::string& source = arguments.sources.front();
  if (arguments.sources.size() > 1)
    throw UsageError("several sources: name the splits to be joined, --split NAME");
  if (is_single_split(source)) {
    std::string stem = std::filesystem::path(source).stem().string();
    return {stem.starts_with("instances_") ? stem.substr(10) : stem};
  }
  std::vector<std::string> names = dataset_splits(source, recognise_format(source));
  const auto has = [&](const char* name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (has("train") && has("val")) std::erase(names, "trainval");
  return names.empty() ? std::vector<std::string>{"all"} : names;
}

/// Reads the splits with one class list: that of all of them.
std::vector<NamedSplit> read_splits(const ConvertArguments& arguments,
                                    const std::vector<std::string>& names) {
  OpenOptions options;
  options.strict = arguments.strict;
  options.pictures = arguments.pictures != "none";
  DataConfig config = config_of(arguments);
  std::vector<NamedSplit> splits;
  const auto read = [&] {
    splits.clear();
    for (const std::string& name : names) {
      const std::string asked = split_or_usual(arguments.sources, "", name);
      splits.push_back({name, open_dataset(arguments.sources, asked, config, options)});
    }
  };
  read();
  std::vector<std::string> classes;
  bool same = true;
  for (const NamedSplit& split : splits) {
    same = same && split.set.class_names == splits.front().set.class_names;
    for (const std::string& name : split.set.class_names)
      if (std::find(classes.begin(), classes.end(), name) == classes.end()) classes.push_back(name);
  }
  if (same) return splits;
  config.classes = classes;
  read();
  return splits;
}

int convert(const ConvertArguments& arguments) {
  const std::vector<NamedSplit> splits = read_splits(arguments, splits_of(arguments));
  const std::map<std::string, PictureMode> modes = {
      {"copy", PictureMode::copy}, {"link", PictureMode::link}, {"none", PictureMode::none}};
  const std::vector<std::string> losses = write_dataset(arguments.out, *format_named(arguments.to),
                                                        splits, modes.at(arguments.pictures));
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  std::string text;
  for (const NamedSplit& split : splits) {
    const DatasetSummary s = summarise(split.set);
    text += fmt::format("{}: {} pictures, {} objects{}; {} repaired, {} left out\n", split.name,
                        s.images, s.boxes,
                        s.crowds > 0 ? fmt::format(", {} crowd regions", s.crowds) : "", s.repaired,
                        s.left_out) +
            findings_text(split.set, false);
    list.push_back({{"split", split.name},
                    {"images", s.images},
                    {"boxes", s.boxes},
                    {"crowds", s.crowds},
                    {"repaired", s.repaired},
                    {"left_out", s.left_out}});
  }
  for (const std::string& loss : losses) text += "lost: " + loss + "\n";
  text += fmt::format("wrote {} ({})\n", arguments.out, arguments.to);
  const nlohmann::ordered_json json = {{"folder", arguments.out},
                                       {"format", arguments.to},
                                       {"classes", splits.front().set.class_names},
                                       {"splits", list},
                                       {"lost", losses}};
  std::fputs(arguments.json ? (json.dump(2) + "\n").c_str() : text.c_str(), stdout);
  return kDone;
}

}  // namespace

void add_convert(CLI::App& app, Action& action) {
  auto a = std::make_shared<ConvertArguments>();
  CLI::App* command =
      app.add_subcommand("convert", "write a data set in another format: VOC, COCO, YOLO, CSV");
  const auto repeated = [&](const char* name, std::vector<std::string>& list, const char* help) {
    return command->add_option(name, list, help)
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->allow_extra_args(false);
  };
  command
      ->add_option("SRC", a->sources,
                   "data sets: folder, .json, .csv or data.yaml; several are "
                   "joined")
      ->required();
  command->add_option("--out", a->out, "folder to make")->required()->type_name("DST");
  command->add_option("--to", a->to, "voc, coco, yolo or csv")
      ->required()
      ->check(CLI::IsMember({"voc", "coco", "yolo", "csv"}))
      ->type_name("FORMAT");
  repeated("--split", a->splits, "a split to convert; may be repeated; default: all of them")
      ->type_name("NAME");
  command->add_option("--pictures", a->pictures, "copy, link (symbolic links) or none")
      ->check(CLI::IsMember({"copy", "link", "none"}))
      ->capture_default_str();
  command
      ->add_option("--picture-folder", a->picture_folder,
                   "where the pictures of a COCO file are; default: looked for")
      ->type_name("DIR");
  repeated("--class", a->classes, "a class to keep, in this order; default: all")
      ->type_name("NAME");
  repeated("--rename", a->renames, "give a class another name")->type_name("OLD=NEW");
  command
      ->add_option("--coordinates", a->coordinates,
                   "VOC and CSV: pixels counted from 0 or 1, edges (2), or -1 to find out")
      ->check(CLI::Range(-1, 2))
      ->capture_default_str();
  command->add_flag("--strict", a->strict, "any defect of the data set is an error");
  command->add_flag("--json", a->json, "print the result as JSON");
  command->footer("Example: frcnn convert VOC2007 --out voc2007-coco --to coco");
  command->callback([&action, a] { action = [a] { return convert(*a); }; });
}

}  // namespace frcnn::apps
