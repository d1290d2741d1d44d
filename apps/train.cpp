#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/commands.h"
#include "apps/data_card.h"
#include "apps/data_option.h"
#include "apps/dataset_io.h"
#include "apps/evaluation_text.h"
#include "apps/overfit.h"
#include "apps/preflight.h"
#include "apps/presets.h"
#include "apps/program_device.h"
#include "apps/serve.h"
#include "apps/stop_signal.h"
#include "apps/terminal.h"
#include "apps/train_data.h"
#include "apps/train_run.h"
#include "apps/version.h"
#include "data/files.h"
#include "kernels/launch/check.h"
#include "model/options.h"

namespace frcnn::apps {
namespace {

namespace fs = std::filesystem;

/// A TOML string.
std::string toml_string(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) out += (c == '"' || c == '\\' ? "\\" : "") + std::string(1, c);
  return out + "\"";
}

struct TrainArguments {
  std::string config, preset, out, list_options, backbone, cut;
  std::vector<std::string> overrides, data, val_data;
  int64_t stop_after = 0, overfit = 0, overfit_steps = 1000;
  std::optional<std::string> serve;  ///< a port; "": the usual one
  bool resume = false, json = false, strict = false, list_presets = false, print_config = false;

  bool names_settings() const { return !config.empty() || !preset.empty(); }
};

/// `--backbone` and `--cut` as settings; `--set` may still change the same keys.
void backbone_settings(TrainArguments& arguments) {
  std::vector<std::string> settings;
  if (arguments.backbone.ends_with(".onnx"))
    settings = {"backbone.name=onnx", "backbone.onnx=" + toml_string(arguments.backbone)};
  else if (!arguments.backbone.empty())
    settings = {"backbone.name=" + toml_string(arguments.backbone)};
  if (!arguments.cut.empty()) settings.push_back("backbone.cut=" + toml_string(arguments.cut));
  arguments.overrides.insert(arguments.overrides.begin(), settings.begin(), settings.end());
}

/// --gpu-math goes before every other word on train.precision, on a GPU.
void precision_setting(TrainArguments& arguments) {
  if (requested_gpu_math() && program_device().device.is_gpu())
    arguments.overrides.push_back(
        fmt::format("train.precision={}", name_of(*requested_gpu_math())));
}

/// The settings that the command line asks for: the preset, what the file CONFIG names on top of
/// it, and --set on top of both.
Config requested_config(const TrainArguments& arguments) {
  const Config base = arguments.preset.empty() ? Config() : preset_config(arguments.preset);
  if (!arguments.config.empty()) return load_config(arguments.config, arguments.overrides, base);
  return parse_config("", "preset " + arguments.preset, arguments.overrides, base);
}

/// Settings that may differ when a run goes on: they don't change what is computed.
bool may_change(const std::string& key) {
  for (const char* free :
       {"train.log_every", "train.checkpoint_every", "train.keep_checkpoints",
        "train.validate_every", "train.validation_loss", "data.workers", "data.prefetch"})
    if (key == free) return true;
  return false;
}

/// The run's own settings with `arguments` on top; other settings than those it began with are
/// refused by name.
Config resumed_config(const RunFolder& folder, const TrainArguments& arguments) {
  const Config before = load_config(folder.config());
  const Config config = arguments.names_settings()
                            ? requested_config(arguments)
                            : load_config(folder.config(), arguments.overrides);
  for (const OptionInfo& option : option_list()) {
    const auto old_value = get_option(before, option.key), value = get_option(config, option.key);
    if (old_value != value && !may_change(option.key))
      throw UsageError(fmt::format(
          "{}: the run was started with {} = {}, which cannot become {} on the way; start a new "
          "run for that",
          folder.root().string(), option.key, old_value.value_or("(as common)"),
          value.value_or("(as common)")));
  }
  return config;
}

void check_arguments(const RunFolder& folder, const TrainArguments& arguments) {
  const std::string out = folder.root().string();
  if (fs::exists(folder.root()) && !fs::is_directory(folder.root()))
    throw UsageError(out + ": is a file, expected a folder for the run");
  if (!arguments.resume) {
    if (!arguments.names_settings())
      throw UsageError(
          "train needs settings: frcnn train CONFIG.toml --data DIR --out RUN, or --preset NAME "
          "(--list-presets) instead of the file");
    if (!folder.empty())
      throw UsageError(out + ": is not empty; choose another folder, or --resume the run in it");
  } else if (!folder.started() && (!arguments.names_settings() || !folder.empty())) {
    throw UsageError(out + ": holds no run that could be resumed (no config.toml)");
  }
}

/// Each branch's rule and its effective rates at the coming step, of weights and of biases.
void print_optimizer(const Config& config, const Trainer& trainer) {
  const auto rates = trainer.learning_rates();
  const auto settings = trainer.optimizer_settings();
  const auto rate_of = [&](const std::string& name) -> std::optional<double> {
    for (const auto& [group, rate] : rates)
      if (group == name) return rate;
    return std::nullopt;
  };
  const char* title = "optimiser ";
  for (const auto& [name, rule] : settings) {
    if (name.find(' ') != std::string::npos) continue;  // biases and norms stand in these lines
    const bool moments = rule.has_moments();
    const auto biases = rate_of(name + " biases");
    const std::string line = fmt::format(
        "{}: {}, lr {:g} at step {}{}, {} {:g}{}, weight decay {:g}; {}", name,
        name_of(rule.method), rate_of(name).value_or(0), trainer.steps(),
        biases ? fmt::format(" (biases {:g})", *biases) : "", moments ? "beta1" : "momentum",
        rule.momentum, moments ? fmt::format(", beta2 {:g}", rule.beta2) : "", rule.weight_decay,
        rule.schedule.text());
    std::fprintf(stderr, "%s %s\n", title, line.c_str());
    title = "          ";
  }
  const TrainConfig& t = config.train;
  std::string more =
      fmt::format("lr per picture {:g}", config.optimizer.lr / (t.batch * t.iter_size));
  if (t.ema > 0) more += fmt::format("; weights averaged with decay {:g}", t.ema);
  if (t.precision != "f32") more += fmt::format("; factors rounded to {}", t.precision);
  std::fprintf(stderr, "           %s\n", more.c_str());
}

void print_summary(const Config& config, const Dataset& training, const Dataset* validation,
                   const RunFolder& folder, TrainRun& run, const Preflight& found) {
  Trainer& trainer = run.trainer();
  const auto& model = config.model;
  const auto& parameters = trainer.model().parameters();
  std::string classes;
  for (const std::string& name : training.class_names)
    classes += (classes.empty() ? "" : ", ") + name;
  std::fprintf(stderr, "run        %s\n", folder.root().c_str());
  const DeviceChoice& device = program_device();
  std::fprintf(stderr, "device     %s (%s)\n", describe(device.device).c_str(),
               device.reason.c_str());
  std::fprintf(stderr, "data       %s: %zu pictures, %zu classes: %s\n", training.name.c_str(),
               training.images.size(), training.class_names.size(), classes.c_str());
  std::fputs(findings_text(training, true).c_str(), stderr);
  if (validation) {
    std::fprintf(stderr, "validation %s: %zu pictures\n", validation->name.c_str(),
                 validation->images.size());
    std::fputs(findings_text(*validation, false).c_str(), stderr);
  }
  std::fprintf(
      stderr, "model      %s, stride %ld, %ld anchors per cell, %s %d x %d, %.2f M weights\n",
      model.backbone.name.c_str(), static_cast<long>(trainer.model().backbone_spec().stride()),
      static_cast<long>(trainer.model().anchors_per_cell()), model.roi.layer.c_str(),
      model.roi.pooled_height, model.roi.pooled_width,
      static_cast<double>(parameters.count()) / 1e6);
  const auto& imported = trainer.model().backbone_spec().imported;
  if (imported && model.backbone.name == "onnx")
    std::fprintf(stderr, "backbone   %s up to '%s'%s: %ld channels, a cell sees %ld pixels\n",
                 imported->network.source.c_str(), imported->network.cut.c_str(),
                 model.backbone.cut.empty() ? " (chosen; backbone.cut takes another)" : "",
                 static_cast<long>(trainer.model().backbone_spec().out_channels()),
                 static_cast<long>(trainer.model().backbone_spec().receptive_field()));
  std::fprintf(stderr, "pictures   shorter side %d, longer at most %d, %s\n",
               model.preprocess.shorter_side, model.preprocess.longer_side,
               model.preprocess.channels.c_str());
  for (size_t i = 0; i < trainer.import_log().size(); ++i)
    std::fprintf(stderr, "%s %s\n",
                 i == 0 ? "weights   " : "warning:  ", trainer.import_log()[i].c_str());
  const auto& t = config.train;
  std::fprintf(stderr, "scheme     %s, %zu %s\n", t.scheme.c_str(), run.stages().size(),
               run.stages().size() == 1 ? "stage" : "stages");
  std::fprintf(stderr, "training   %ld steps of %d x %d pictures (%.1f epochs), seed %lu\n",
               static_cast<long>(trainer.total_steps()), t.batch, t.iter_size,
               static_cast<double>(trainer.total_steps()) * t.batch * t.iter_size /
                   static_cast<double>(training.images.size()),
               static_cast<unsigned long>(t.seed));
  print_optimizer(config, trainer);
  std::fputs(found.text.c_str(), stderr);
  if (trainer.steps() > 0)
    std::fprintf(stderr, "resumed    at step %ld\n", static_cast<long>(trainer.steps()));
}

int train(const TrainArguments& arguments) {
  if (requested_cpu_math() != "f32")
    throw UsageError(fmt::format("--cpu-math {}: is for inference; training has train.precision",
                                 requested_cpu_math()));
  if (arguments.serve) port_of(*arguments.serve);  // a mistake in it shows before any work
  const RunFolder folder(arguments.out);
  check_arguments(folder, arguments);
  const bool resuming = arguments.resume && folder.started();
  Config config = resuming ? resumed_config(folder, arguments) : requested_config(arguments);
  const auto newest = resuming ? folder.newest() : std::nullopt;
  if (newest && config.model.backbone.name == "onnx")  // the .onnx file may be gone
    take_network(config.model, load_checkpoint(*newest), newest->string());
  const DataSources data = data_sources(folder, arguments.data, arguments.val_data);
  folder.check_writable();
  const Dataset training = open_training(data.training, config, arguments.strict);
  Dataset validation;
  const bool validates = !config.data.val_split.empty();
  if (!validates && !data.validation.empty())
    throw UsageError("--val-data is given, but data.val_split is empty: nothing is validated");
  if (validates) {
    validation = open_validation(data, config, training, arguments.strict);
    require_not_empty(validation, true);
  }
  check_pictures(training);
  check_pictures(validation);
  TrainRun run(config, training, validates ? &validation : nullptr, folder, newest);
  const Preflight found = preflight(config, training, run.trainer());
  print_summary(config, training, validates ? &validation : nullptr, folder, run, found);

  std::optional<ReportServer> server;
  if (arguments.serve) {
    server.emplace(folder, port_of(*arguments.serve));
    std::fprintf(stderr, "serving    %s\n", server->address().c_str());
  }
  folder.create();
  nlohmann::ordered_json info;
  add_data_sources(info, data);
  info["program_version"] = program_version();
  write_file(folder.info(), std::string_view(info.dump(2) + "\n"));
  write_file(folder.config(), std::string_view(to_toml(config)));
  std::vector<CardSplit> splits = {{config.data.train_split, data.training, &training}};
  if (validates)
    splits.push_back({config.data.val_split,
                      data.validation.empty() ? data.training : data.validation, &validation});
  write_file(folder.dataset(), std::string_view(data_card(splits, &found.coverage)));
  run.session().predict(found);
  run.set_stop_after(arguments.stop_after);
  const bool undisturbed = run.run();
  if (!undisturbed || run.remaining() > 0)
    std::fprintf(stderr, "stopped at step %ld of %ld; to go on: frcnn train --resume --out %s\n",
                 static_cast<long>(run.trainer().steps()),
                 static_cast<long>(run.trainer().total_steps()), folder.root().c_str());
  if (!undisturbed) return stop_exit_code();
  std::fprintf(stderr, "peak memory of tensors %s\n",
               bytes_text(static_cast<double>(run.session().peak())).c_str());
  if (arguments.json) {
    std::fputs(MetricsFile(folder.metrics()).text().c_str(), stdout);
  } else {
    if (run.result()) std::fputs(evaluation_table(*run.result()).c_str(), stdout);
    if (run.recall() && !run.result()) std::fputs(recall_table(*run.recall()).c_str(), stdout);
    std::printf("model  %s\nreport %s\n", folder.model().c_str(), folder.report().c_str());
  }
  return kDone;
}

int list_presets() {
  size_t width = 0;
  for (const Preset& preset : presets()) width = std::max(width, preset.name.size());
  for (const Preset& preset : presets())
    fmt::print("{:<{}}  {}\n", preset.name, width, preset.summary());
  return kDone;
}

/// The resolved settings as TOML; not checked, so that one that is still missing may be added.
int print_config(const TrainArguments& arguments) {
  Config config = arguments.preset.empty() ? Config() : preset_config(arguments.preset);
  if (!arguments.config.empty()) apply_toml(config, read_text(arguments.config), arguments.config);
  for (const std::string& assignment : arguments.overrides) set_option(config, assignment);
  std::fputs(to_toml(config).c_str(), stdout);
  return kDone;
}

/// `--overfit N`: writes nothing but its verdict.
int train_overfit(const TrainArguments& arguments) {
  const Config config = requested_config(arguments);
  if (arguments.data.empty()) throw UsageError("train needs --data DIR");
  const Dataset training = open_training(arguments.data, config, arguments.strict);
  catch_stop_signals();
  const OverfitResult result = overfit(config, training, arguments.overfit, arguments.overfit_steps,
                                       program_device().device);
  if (stop_requested()) return stop_exit_code();
  for (const std::string& hint : result.hints)
    std::fprintf(stderr, "hint       %s\n", hint.c_str());
  std::printf("%s\n", verdict(result).c_str());
  return result.passed ? kDone : kFailed;
}

int list_options(const std::string& form) {
  std::fputs((form == "markdown" ? options_markdown() : options_text()).c_str(), stdout);
  return kDone;
}

}  // namespace

void add_train(CLI::App& app, Action& action) {
  auto a = std::make_shared<TrainArguments>();
  CLI::App* command = app.add_subcommand("train", "train a detector on a labelled data set");
  command->add_option("CONFIG", a->config, "settings as TOML (see --help-config)");
  command
      ->add_option("--preset", a->preset,
                   "settings that come with the program; CONFIG, if given, changes them further")
      ->type_name("NAME");
  command->add_flag("--list-presets", a->list_presets, "list the presets");
  command->add_flag("--print-config", a->print_config,
                    "print the settings as TOML instead of training");
  command->add_option("--set", a->overrides, "change one setting: --set rpn.positive_iou=0.6")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
  command
      ->add_option("--backbone", a->backbone,
                   "vgg16, zf, alexnet, resnet18_v2, tiny, or a network of your own as ONNX file "
                   "(backbone.name, backbone.onnx)")
      ->type_name("NAME|FILE.onnx");
  command
      ->add_option("--cut", a->cut,
                   "node of the ONNX file whose map is used (backbone.cut); `frcnn backbone` lists "
                   "them")
      ->type_name("NODE");
  add_data_option(*command, a->data);
  add_data_option(*command, a->val_data, "--val-data",
                  "data set to validate on; default: data.val_split of --data");
  command->add_option("--out", a->out, "folder for checkpoints, logs and the report")
      ->type_name("RUN");
  command->add_flag("--resume", a->resume,
                    "go on where the run in --out stopped, with the same result as if it had not");
  command
      ->add_option(
          "--stop-after", a->stop_after,
          "stop after this step with a validation, so that --resume can go on; the learning "
          "rates follow the whole run")
      ->check(CLI::PositiveNumber)
      ->type_name("STEP");
  command
      ->add_option(
          "--overfit", a->overfit,
          "test of the set-up: learn this many pictures by heart (docs/before-training.md); "
          "exit code 1 when mAP 1 is not reached; needs no --out")
      ->check(CLI::PositiveNumber)
      ->type_name("N");
  command->add_option("--overfit-steps", a->overfit_steps, "most steps of that test")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->type_name("STEPS");
  command
      ->add_option("--serve", a->serve,
                   "show the report of the run in a browser while it trains, on this machine "
                   "only: http://127.0.0.1:PORT/; 0: any free port")
      ->expected(0, 1)
      ->type_name("PORT");
  command->add_flag("--strict", a->strict, "any defect of the data set is an error");
  command->add_flag("--json", a->json, "print the validation results as JSON");
  command
      ->add_option("--help-config", a->list_options,
                   "list every setting with default and range, as text or markdown")
      ->expected(0, 1)
      ->check(CLI::IsMember({"text", "markdown"}))
      ->type_name("FORM");
  command->footer(
      "Example: frcnn train configs/quickstart.toml --data shapes --out runs/first "
      "--set train.steps=500");
  command->callback([&action, a, command] {
    if (command->count("--help-config")) {
      action = [a] { return list_options(a->list_options); };
      return;
    }
    if (a->list_presets) {
      action = [] { return list_presets(); };
      return;
    }
    backbone_settings(*a);
    if (a->print_config) {
      action = [a] { return print_config(*a); };
      return;
    }
    if (a->overfit > 0) {
      action = [a] { return train_overfit(*a); };
      return;
    }
    if (a->out.empty()) throw CLI::RequiredError("--out");
    action = [a] {
      precision_setting(*a);
      return train(*a);
    };
  });
}

}  // namespace frcnn::apps
