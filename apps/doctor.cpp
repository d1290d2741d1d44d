#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdio>
#include <memory>

#include "apps/commands.h"
#include "apps/doctor_report.h"
#include "apps/preflight.h"
#include "kernels/launch/check.h"
#include "model/options.h"

namespace frcnn::apps {
namespace {

namespace fs = std::filesystem;

struct DoctorArguments {
  std::string data, split = "all", config, fix;
  std::vector<std::string> classes;
  DoctorOptions options;
  size_t most = 5;
  bool json = false, strict = false;
};

AnchorCoverage coverage(const Config& config, const Dataset& set, bool advise) {
  // The parameters are not needed, only where the anchors lie: they are not filled.
  const FasterRcnn model(config.model, std::ssize(set.class_names), 1, DType::f32, false);
  return anchor_coverage(model, coverage_images(set, config), advise);
}

std::optional<AnchorReport> anchors(const Config& config, const std::string& name,
                                    const Dataset& set) {
  AnchorReport report;
  report.config = name;
  const AnchorConfig& a = config.model.anchors;
  report.sizes = a.sizes, report.ratios = a.ratios, report.unit = a.unit;
  if (set.class_names.empty()) return {};
  report.coverage = coverage(config, set, true);
  if (report.coverage.all.objects == 0) return {};
  Config advised = config;
  advised.model.anchors.unit = "pixels", advised.model.anchors.combine = "all";
  advised.model.anchors.sizes = report.coverage.advised_sizes;
  advised.model.anchors.ratios = report.coverage.advised_ratios;
  report.advised = coverage(advised, set, false);
  return report;
}

int doctor(const DoctorArguments& arguments) {
  check(fs::exists(arguments.data), "{}: there is no such data set", arguments.data);
  check(arguments.fix.empty() || !fs::exists(arguments.fix),
        "{}: --fix expects a folder that does not exist yet, found one", arguments.fix);
  Config config;
  if (!arguments.config.empty()) config = load_config(arguments.config);
  const auto start = std::chrono::steady_clock::now();
  DoctorReport report;
  report.data = arguments.data, report.split = arguments.split;
  SourceOptions source;
  source.format = format_named(config.data.format);  // none of "auto"
  source.read.classes.keep = arguments.classes.empty() ? config.data.classes : arguments.classes;
  source.read.classes.rename = config.data.class_map;
  source.coordinates = static_cast<VocCoordinates>(config.data.coordinates);
  source.pictures = config.data.pictures;
  VocCoordinates coordinates = VocCoordinates::one_based;
  report.diagnosis =
      examine_dataset(arguments.data, arguments.split, source, arguments.options, &coordinates);
  report.anchors = anchors(config, arguments.config.empty() ? "the defaults" : arguments.config,
                           report.diagnosis.set);
  if (!arguments.fix.empty()) {
    report.fix = arguments.fix;
    report.repairs = write_repaired(report.diagnosis, coordinates, arguments.fix);
  }
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const std::string text =
      arguments.json ? doctor_json(report) : doctor_text(report, arguments.most);
  std::fputs(text.c_str(), stdout);
  const Diagnosis& d = report.diagnosis;
  const bool failed =
      d.count(Severity::error) > 0 ||
      (arguments.strict && d.count(Severity::warning) + d.count(Severity::note) > 0);
  return failed ? kFailed : kDone;
}

}  // namespace

void add_doctor(CLI::App& app, Action& action) {
  auto a = std::make_shared<DoctorArguments>();
  CLI::App* command = app.add_subcommand(
      "doctor", "look for every defect of a data set, and at how anchors fit its objects");
  command
      ->add_option("DATA", a->data, "data set: VOC, COCO or YOLO folder, .json, .csv or data.yaml")
      ->required();
  command->add_option("--split", a->split, "split to look at")->capture_default_str();
  command->add_option("--class", a->classes, "the class list: others are errors (repeat it)")
      ->type_name("NAME");
  command
      ->add_option("--config", a->config,
                   "config whose class list, coordinates, input size and anchors are used")
      ->type_name("FILE");
  command->add_option("--rare", a->options.rare, "a class with fewer objects is rare")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  command->add_option("--most", a->most, "places that are listed for each code")
      ->check(CLI::Range(1, 100'000'000))
      ->capture_default_str();
  command
      ->add_option("--fix", a->fix,
                   "write a repaired copy (VOC layout, pictures as hard links) to a new folder")
      ->type_name("DIR");
  command->add_flag("--deep", a->options.deep,
                    "decode every picture, and compare pixels instead of files");
  command->add_flag("--strict", a->strict, "warnings and notes fail like errors");
  command->add_flag("--json", a->json, "print as JSON, with all places");
  command->footer(
      "Exit codes: 0 no errors, 1 errors, 2 wrong usage. docs/doctor.md explains the codes.\n"
      "Example: frcnn doctor VOC2007 --split trainval");
  command->callback([&action, a] { action = [a] { return doctor(*a); }; });
}

}  // namespace frcnn::apps
