#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>

#include "apps/commands.h"
#include "apps/model_file.h"
#include "apps/version.h"
#include "kernels/launch/check.h"
#include "model/detector.h"
#include "model/export_onnx.h"
#include "model/export_safetensors.h"
#include "weights/safetensors.h"

namespace frcnn::apps {
namespace {

struct ExportArguments {
  std::string model, format, out;
  std::vector<std::string> overrides;
  bool approximate = false, dynamic = false;
  int64_t height = 0, width = 0;
};

void export_torchvision(const Detector& detector, const ExportArguments& a) {
  const TorchvisionModel made = torchvision_model(detector.model(), detector.config(),
                                                  detector.class_names(), program_version());
  std::string list;
  for (const std::string& difference : made.differences)
    list += (list.empty() ? " " : "; ") + difference;
  check(made.differences.empty() || a.approximate,
        "{}: torchvision cannot do exactly what this detector does; --approximate writes the file "
        "all the same:{}",
        a.model, list);
  for (const std::string& difference : made.differences)
    std::fprintf(stderr, "warning: %s\n", difference.c_str());
  save_safetensors(a.out, made.tensors, made.metadata);
}

void write_onnx(const Detector& detector, const ExportArguments& a) {
  if (a.dynamic == (a.height > 0 || a.width > 0) || (a.height > 0) != (a.width > 0))
    throw UsageError(
        "--format onnx needs the size of the pictures: --height and --width, or --dynamic for any");
  export_onnx(detector.model(), detector.config(), detector.class_names(),
              {a.height, a.width, program_version()}, a.out);
}

/// One way to write a detector.
struct Format {
  const char* name;
  void (*write)(const Detector&, const ExportArguments&);
};
constexpr Format kFormats[] = {
    {"safetensors",
     [](const Detector& detector, const ExportArguments& a) {
       export_safetensors(detector.model(), detector.config(), detector.class_names(),
                          program_version(), a.out);
     }},
    {"torchvision", export_torchvision},
    {"onnx", write_onnx},
};

int export_model(const ExportArguments& a) {
  if (a.format != "onnx" && (a.dynamic || a.height > 0 || a.width > 0))
    throw UsageError("--height, --width and --dynamic belong to --format onnx");
  const Detector detector = Detector::load(model_file(a.model), a.overrides, {}, /*as_float=*/true);
  if (a.format != "safetensors") {  // which keeps weights, whatever they are
    detector.require_head(a.model);
    detector.require_rpn(a.model);
  }
  for (const Format& format : kFormats)
    if (a.format == format.name) format.write(detector, a);
  std::printf("wrote %s\n", a.out.c_str());
  return kDone;
}

}  // namespace

void add_export(CLI::App& app, Action& action) {
  auto a = std::make_shared<ExportArguments>();
  CLI::App* command =
      app.add_subcommand("export", "write a trained detector in a format of other programs");
  command->add_option("MODEL", a->model, "checkpoint or run folder")->required();
  std::vector<std::string> names;
  for (const Format& format : kFormats) names.emplace_back(format.name);
  command
      ->add_option("--format", a->format,
                   "safetensors: names and settings of frcnn; torchvision: a safetensors file with "
                   "the state_dict of a torchvision FasterRCNN; onnx: the whole detector for ONNX "
                   "Runtime and others")
      ->check(CLI::IsMember(names))
      ->required();
  command->add_option("--out", a->out, "file to write")->type_name("FILE")->required();
  command->add_option("--set", a->overrides, "change one setting: --set test.nms_iou=0.5")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
  command->add_flag("--approximate", a->approximate,
                    "torchvision: settings that it does not have are a warning, not an error");
  command->add_option("--height", a->height, "onnx: height of all pictures")
      ->check(CLI::Range(1, 1 << 16))
      ->type_name("PIXELS");
  command->add_option("--width", a->width, "onnx: width of all pictures")
      ->check(CLI::Range(1, 1 << 16))
      ->type_name("PIXELS");
  command->add_flag("--dynamic", a->dynamic, "onnx: pictures of any size");
  command->footer("Example: frcnn export RUN --format safetensors --out detector.safetensors");
  command->callback([&action, a] { action = [a] { return export_model(*a); }; });
}

}  // namespace frcnn::apps
