#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>

#include "apps/commands.h"
#include "apps/dataset_io.h"
#include "apps/evaluation_text.h"
#include "data/detections_io.h"
#include "data/files.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

struct ScoreArguments {
  std::string detections, data, split = "test", text_truth, out;
  std::vector<std::string> classes;
  EvaluateOptions options;
  bool json = false;
};

int score(const ScoreArguments& arguments) {
  if (arguments.data.empty() == arguments.text_truth.empty())
    throw UsageError("score needs the ground truth: either --data or --text-truth");
  DataConfig config;
  config.classes = arguments.classes;
  const Dataset truth = arguments.data.empty()
                            ? read_truth_text(arguments.text_truth, arguments.classes)
                            : open_dataset(arguments.data, arguments.split, config);
  require_not_empty(truth, true);
  const EvaluationResult result =
      evaluate_voc(truth, read_detections(arguments.detections, truth), arguments.options);
  const std::string json = evaluation_json(result);
  if (!arguments.out.empty()) write_file(arguments.out, std::string_view(json));
  std::fputs(arguments.json ? json.c_str() : evaluation_table(result).c_str(), stdout);
  return kDone;
}

}  // namespace

void add_score(CLI::App& app, Action& action) {
  auto a = std::make_shared<ScoreArguments>();
  CLI::App* command = app.add_subcommand("score", "score a detections file against ground truth");
  command
      ->add_option("DETECTIONS", a->detections,
                   "COCO results JSON, or a folder of text files (class score left top width "
                   "height)")
      ->required();
  command->add_option("--data", a->data, "data set in VOC layout")->type_name("DIR");
  command->add_option("--split", a->split, "its split, or all")->capture_default_str();
  command
      ->add_option("--text-truth", a->text_truth,
                   "folder of text files (class left top width height [difficult])")
      ->type_name("DIR");
  command->add_option("--class", a->classes, "class names in order; default: all names found");
  command->add_option("--iou", a->options.iou, "least IoU of a right detection")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_flag("--plus-one", a->options.plus_one,
                    "boxes of text files name their first and last pixel (areas count both)");
  command->add_option("--out", a->out, "write the result as JSON to this file")->type_name("FILE");
  command->add_flag("--json", a->json, "print the result as JSON");
  command->footer("Example: frcnn score detections.json --data VOC2007 --split test --json");
  command->callback([&action, a] { action = [a] { return score(*a); }; });
}

}  // namespace frcnn::apps
