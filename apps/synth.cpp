#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "data/synth.h"
#include "data/voc.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

struct SynthArguments {
  std::string out;
  SynthOptions options;
  bool json = false;
};

int synth(const SynthArguments& arguments) {
  make_synthetic(arguments.out, arguments.options);
  VocOptions voc;
  voc.root = arguments.out;
  const Dataset set = read_voc(voc);
  const DatasetSummary summary = summarise(set);
  if (arguments.json) {
    const nlohmann::ordered_json result = {{"folder", arguments.out},
                                           {"images", summary.images},
                                           {"boxes", summary.boxes},
                                           {"classes", set.class_names},
                                           {"seed", arguments.options.seed}};
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
  command->add_option("--out", arguments->out, "folder to make (VOC layout)")
      ->required()
      ->type_name("DIR");
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
