#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "data/files.h"
#include "data/formats.h"
#include "data/synth.h"
#include "data/writers.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

struct SynthArguments {
  std::string out, format = "voc";
  SynthOptions options;
  bool json = false;
};

/// The set in another format: made as a VOC folder beside it, which is then written anew.
void make_as(DatasetFormat format, const SynthArguments& arguments) {
  namespace fs = std::filesystem;
  const fs::path out = fs::absolute(arguments.out).lexically_normal();
  std::error_code error;
  check(!fs::exists(out) || fs::is_empty(out, error), "{}: exists and is not empty", arguments.out);
  const fs::path voc = (out.has_filename() ? out : out.parent_path()).string() + ".voc.tmp";
  fs::remove_all(voc, error);
  try {
    make_synthetic(voc, arguments.options);
    std::vector<NamedSplit> splits;
    SourceOptions source;
    source.format = DatasetFormat::voc;
    source.read.classes.keep = synth_class_names(arguments.options.classes);
    for (const char* name : {"train", "val", "test"})
      splits.push_back({name, read_dataset(voc, name, source)});
    write_dataset(out, format, splits, PictureMode::copy);
  } catch (...) {
    fs::remove_all(voc, error);
    throw;
  }
  fs::remove_all(voc, error);
}

int synth(const SynthArguments& arguments) {
  const DatasetFormat format = *format_named(arguments.format);
  if (format == DatasetFormat::voc)
    make_synthetic(arguments.out, arguments.options);
  else
    make_as(format, arguments);
  SourceOptions source;
  source.format = format;
  const Dataset set = read_dataset(arguments.out, "all", source);
  const DatasetSummary summary = summarise(set);
  if (arguments.json) {
    const nlohmann::ordered_json result = {
        {"folder", arguments.out}, {"format", arguments.format}, {"images", summary.images},
        {"boxes", summary.boxes},  {"classes", set.class_names}, {"seed", arguments.options.seed}};
    std::printf("%s\n", result.dump(2).c_str());
  } else {
    std::printf("%s: %ld pictures of %d x %d with %ld objects of %zu classes (seed %lu)\n",
                arguments.out.c_str(), static_cast<long>(summary.images), arguments.options.width,
                arguments.options.height, static_cast<long>(summary.boxes), set.class_names.size(),
                static_cast<unsigned long>(arguments.options.seed));
  }
  return kDone;
}

}  // namespace

void add_synth(CLI::App& app, Action& action) {
  auto arguments = std::make_shared<SynthArguments>();
  SynthOptions& o = arguments->options;
  CLI::App* command = app.add_subcommand("synth", "make a small labelled set of drawn shapes");
  command->add_option("--out", arguments->out, "folder to make")->required()->type_name("DIR");
  command->add_option("--format", arguments->format, "voc, coco, yolo or csv (docs/data.md)")
      ->check(CLI::IsMember({"voc", "coco", "yolo", "csv"}))
      ->capture_default_str();
  const auto number = [&](const char* name, int& value, int low, int high, const char* help) {
    command->add_option(name, value, help)->check(CLI::Range(low, high))->capture_default_str();
  };
  number("--images", o.images, 1, 1000000, "pictures");
  number("--width", o.width, 16, 8192, "width of a picture, pixels");
  number("--height", o.height, 16, 8192, "height of a picture, pixels");
  number("--classes", o.classes, 1, 6, "kinds of shapes");
  number("--min-objects", o.min_objects, 0, 1000, "fewest objects in a picture");
  number("--max-objects", o.max_objects, 0, 1000, "most objects in a picture");
  number("--min-size", o.min_size, 4, 8192, "smallest side of an object's box, pixels");
  number("--max-size", o.max_size, 4, 8192, "largest side of an object's box, pixels");
  command->add_option("--seed", o.seed, "the same seed gives the same files")
      ->capture_default_str();
  command->add_flag("--json", arguments->json, "print the result as JSON");
  command->footer("Example: frcnn synth --out shapes --images 400 --seed 1");
  command->callback([&action, arguments] {
    const SynthOptions& made = arguments->options;
    if (made.min_objects > made.max_objects || made.min_size > made.max_size)
      throw CLI::ValidationError("a minimum is above its maximum");
    action = [arguments] { return synth(*arguments); };
  });
}

}  // namespace frcnn::apps
