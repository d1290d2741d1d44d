#include <CLI/CLI.hpp>

#include <toml++/toml.h>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "apps/version.h"
#include "apps/weights_report.h"
#include "kernels/launch/check.h"
#include "model/faster_rcnn.h"
#include "model/import_setup.h"
#include "model/options.h"
#include "weights/checkpoint.h"

namespace frcnn::apps {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct ImportArguments {
  std::string source, network, config, out;
  std::vector<std::string> classes, map, overrides;
  bool partial = false, any_preprocess = false, json = false;
};

/// "theirs=ours", or a TOML file with such a line for every array.
std::vector<std::pair<std::string, std::string>> read_map(const std::vector<std::string>& texts) {
  std::vector<std::pair<std::string, std::string>> map;
  for (const std::string& text : texts) {
    const size_t equals = text.rfind('=');
    if (equals != std::string::npos) {
      map.emplace_back(text.substr(0, equals), text.substr(equals + 1));
      continue;
    }
    if (!fs::exists(text))
      throw UsageError(fmt::format(
          "--map {}: expected THEIRS=OURS or a TOML file of lines \"THEIRS\" = \"OURS\"", text));
    try {
      for (const auto& [key, value] : toml::parse_file(text)) {
        const auto ours = value.value<std::string>();
        if (!ours)
          throw UsageError(fmt::format("--map {}: {} is not a text; names with a dot need quotes",
                                       text, std::string(key.str())));
        map.emplace_back(std::string(key.str()), *ours);
      }
    } catch (const toml::parse_error& error) {
      throw UsageError(fmt::format("--map {}:{}: not valid TOML: {}", text,
                                   error.source().begin.line, error.description()));
    }
  }
  return map;
}

/// The model to load into: from --config, or as the file suggests.
ImportSetup setup_of(const WeightFile& file, const ImportArguments& a) {
  if (a.config.empty()) {
    ImportSetup setup = setup_for(file, a.network, a.classes);
    for (const std::string& change : a.overrides) set_option(setup.config, change);
    check_config(setup.config, "--set");
    return setup;
  }
  const Config config = load_config(a.config, a.overrides);
  if (!a.network.empty() && a.network != config.model.backbone.name)
    throw UsageError(fmt::format("--as {}: {} has backbone.name = \"{}\"", a.network, a.config,
                                 config.model.backbone.name));
  return setup_for(file, config, a.classes.empty() ? config.data.classes : a.classes);
}

/// A detector whose outputs only --map knows; its classes must be named, as the shapes are not.
void take_mapped_detector(ImportSetup& setup, const ImportOptions& options,
                          const ImportArguments& a) {
  const bool mapped = std::any_of(options.map.begin(), options.map.end(), [](const auto& pair) {
    return pair.second.starts_with("rpn.") || pair.second.starts_with("head.cls.");
  });
  if (setup.detector || !mapped) return;
  if (a.classes.empty() && setup.classes.empty())
    throw UsageError("--map gives the file a detector's outputs; name its classes with --classes");
  setup.detector = true;
  setup.config.data.classes = setup.classes;
}

/// What a checkpoint of the import holds: all of a detector; of a classification net what was
/// loaded, and of a partial one the whole backbone, so that backbone.weights accepts it.
Checkpoint checkpoint_of(const ImportSetup& setup, const FasterRcnn& model, const ImportPlan& plan,
                         bool partial) {
  Checkpoint checkpoint;
  checkpoint.program_version = program_version();
  checkpoint.config = to_toml(setup.config);
  checkpoint.classes = setup.classes;
  if (const auto& imported = model.backbone_spec().imported)
    checkpoint.network = to_json(imported->network);
  for (const Parameter& p : model.parameters().all()) {
    const bool loaded = std::any_of(plan.rows.begin(), plan.rows.end(), [&](const ImportRow& row) {
      return row.state == ImportRow::State::matched && row.parameter == p.name;
    });
    if (!loaded && !(partial && (setup.detector || p.name.starts_with("backbone.")))) continue;
    (p.kind == ParameterKind::buffer ? checkpoint.buffers : checkpoint.parameters)
        .emplace(p.name, p.tensor);
  }
  return checkpoint;
}

int import(const ImportArguments& a) {
  const std::unique_ptr<WeightFile> file = WeightFile::open(a.source);
  ImportOptions options;
  options.map = read_map(a.map);
  ImportSetup setup = setup_of(*file, a);
  take_mapped_detector(setup, options, a);
  const auto classes = std::max<int64_t>(1, static_cast<int64_t>(setup.classes.size()));
  // What a partial import leaves open keeps its initial values.
  const FasterRcnn model(setup.config.model, classes, setup.config.train.seed, DType::f32,
                         /*fill=*/a.partial);
  const ImportTarget target = import_target(model);
  options.scope = setup.detector ? ImportOptions::Scope::detector : ImportOptions::Scope::backbone;
  options.partial = a.partial;
  options.any_preprocess = a.any_preprocess;
  const ImportPlan plan = plan_import(*file, target, options);
  if (!a.json) {
    std::printf("%s: %s, network %s%s\n", a.source.c_str(), file->format().c_str(),
                setup.config.model.backbone.name.c_str(),
                setup.detector
                    ? fmt::format(", a detector of {} classes", setup.classes.size()).c_str()
                    : "");
    std::fputs(plan.text().c_str(), stdout);
    std::fflush(stdout);
  }
  check_plan(*file, plan, target, options);
  if (setup.made_names)
    std::fprintf(stderr,
                 "warning: %s does not name its %zu classes; they are called %s, %s, ... "
                 "(--classes names them)\n",
                 a.source.c_str(), setup.classes.size(), setup.classes.front().c_str(),
                 setup.classes.back().c_str());
  if (!plan.preprocess)
    std::fprintf(stderr,
                 "warning: nothing tells the pictures that %s was trained with; the config "
                 "makes them as %s\n",
                 a.source.c_str(), pictures_text(setup.config.model.preprocess).c_str());
  const std::vector<std::string> warnings = run_import(*file, plan, target);
  for (const std::string& warning : warnings)
    std::fprintf(stderr, "warning: %s\n", warning.c_str());
  if (!a.out.empty()) save_checkpoint(a.out, checkpoint_of(setup, model, plan, a.partial));
  if (a.json) {
    const Json json = {{"file", a.source},
                       {"format", file->format()},
                       {"detector", setup.detector},
                       {"classes", setup.classes},
                       {"import", import_json(plan)},
                       {"warnings", warnings},
                       {"out", a.out}};
    std::fputs((json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n").c_str(), stdout);
  } else if (a.out.empty()) {
    std::printf("nothing was written; --out FILE makes a checkpoint of it\n");
  } else if (setup.detector) {
    std::printf("wrote %s: frcnn detect %s PICTURES --out DIR\n", a.out.c_str(), a.out.c_str());
  } else {
    std::printf("wrote %s: frcnn train CONFIG --set backbone.weights=%s --data DIR --out RUN\n",
                a.out.c_str(), a.out.c_str());
  }
  return kDone;
}

}  // namespace

void add_import(CLI::App& app, Action& action) {
  auto a = std::make_shared<ImportArguments>();
  CLI::App* command = app.add_subcommand(
      "import", "make a checkpoint of weights from Keras, PyTorch, Caffe, NumPy or safetensors");
  command->add_option("SRC", a->source, "file of weights")->required();
  command->add_option("--as", a->network, "network; default: the one whose names and sizes fit")
      ->check(CLI::IsMember({"vgg16", "zf", "alexnet"}))
      ->type_name("NETWORK");
  command->add_option("--config", a->config,
                      "settings of the model; default: those that follow from the file");
  command->add_option("--set", a->overrides, "change one setting: --set test.nms_iou=0.5")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
  command->add_option("--out", a->out, "checkpoint to write; without it, only the table is shown")
      ->type_name("FILE");
  command->add_option("--classes", a->classes, "names of a detector's classes, without background")
      ->delimiter(',')
      ->type_name("A,B,...");
  command
      ->add_option("--map", a->map,
                   "place of an array: THEIRS=OURS, both may end in *; nothing after the = leaves "
                   "it out. Or a TOML file of such lines")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
  command->add_flag("--partial", a->partial,
                    "take what fits; the rest keeps the initial values of the seed");
  command->add_flag("--any-preprocess", a->any_preprocess,
                    "weights of other pictures than the config makes are no error");
  command->add_flag("--json", a->json, "print as JSON");
  command->footer(
      "Example: frcnn import vgg16_weights_tf_dim_ordering_tf_kernels.h5 --out vgg16.h5");
  command->callback([&action, a] { action = [a] { return import(*a); }; });
}

}  // namespace frcnn::apps
