#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>

#include "apps/commands.h"
#include "apps/data_option.h"
#include "apps/dataset_io.h"
#include "apps/evaluation.h"
#include "data/detections_io.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

struct ScoreArguments {
  std::string detections, split, text_truth;
  std::vector<std::string> data, classes;
  EvaluationRequest request;
};

int score(const ScoreArguments& arguments) {
  if (arguments.data.empty() == arguments.text_truth.empty())
    throw UsageError("score needs the ground truth: either --data or --text-truth");
  DataConfig config;
  config.classes = arguments.classes;
  OpenOptions options;
  options.pictures = false;
  const Dataset truth =
      arguments.data.empty()
          ? read_truth_text(arguments.text_truth, arguments.classes)
          : open_dataset(arguments.data, split_or_usual(arguments.data, arguments.split, "test"),
                         config, options);
  require_not_empty(truth, true);
  const std::vector<Detection> detections = read_detections(arguments.detections, truth);
  const EvaluationRequest& request = arguments.request;
  show_evaluation(evaluate(truth, detections, request, request.computed()), request);
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
  add_data_option(*command, a->data);
  command->add_option("--split", a->split, "its split, or all; default: test, of a file all of it");
  command
      ->add_option("--text-truth", a->text_truth,
                   "folder of text files (class left top width height [difficult])")
      ->type_name("DIR");
  command->add_option("--class", a->classes, "class names in order; default: all names found");
  command->add_flag(
      "--plus-one", a->request.voc.plus_one,
      "boxes of text files name their first and last pixel (areas count both; metric voc only)");
  add_evaluation_options(*command, a->request, /*with_latency=*/false);
  command->footer(
      "Example: frcnn score detections.json --data VOC2007 --split test --json\n"
      "Example: frcnn score detections.json --data COCO --metrics coco,errors,bootstrap");
  command->callback([&action, a] { action = [a] { return score(*a); }; });
}

}  // namespace frcnn::apps
