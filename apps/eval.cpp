#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>

#include "apps/batches.h"
#include "apps/commands.h"
#include "apps/data_option.h"
#include "apps/dataset_io.h"
#include "apps/evaluation.h"
#include "apps/load_detector.h"
#include "apps/model_file.h"
#include "apps/program_device.h"
#include "apps/proposals.h"
#include "apps/stop_signal.h"
#include "data/detections_io.h"
#include "kernels/launch/check.h"
#include "model/detector.h"
#include "model/faster_rcnn.h"
#include "model/options.h"

namespace frcnn::apps {
namespace {

struct EvalArguments {
  std::string model, split, detections, proposals;
  std::vector<std::string> data, settings;
  EvaluationRequest request;
  bool strict = false;
};

int eval(const EvalArguments& arguments) {
  const auto file = model_file(arguments.model);
  const Detector detector = load_detector(file, arguments.settings);
  detector.require_head(file.string());
  if (arguments.proposals.empty()) detector.require_rpn(file.string());
  const DataConfig& config = detector.config().data;
  const Dataset dataset = open_for_detector(arguments.data, arguments.split, config,
                                            detector.class_names(), arguments.strict);
  require_not_empty(dataset, true);
  const EvaluationRequest& request = arguments.request;
  if (!request.json) {
    std::printf("model   %s\ndata    %s: %zu pictures\n", file.c_str(), dataset.name.c_str(),
                dataset.images.size());
    std::fputs(findings_text(dataset, true).c_str(), stdout);
    std::fflush(stdout);
  }
  catch_stop_signals();
  std::optional<ProposalSet> proposals;
  if (!arguments.proposals.empty()) proposals = load_proposals_of(arguments.proposals, dataset);
  std::vector<double> seconds;
  const auto detections = detect_all(detector.model(), dataset, detector.config().model.preprocess,
                                     config, proposals ? &*proposals : nullptr, &seconds);
  if (stop_requested()) return stop_exit_code();
  if (!arguments.detections.empty())
    write_detections_json(arguments.detections, dataset, detections);
  const std::set<std::string> metrics = request.computed();
  Evaluation evaluation = evaluate(dataset, detections, request, metrics);
  if (metrics.count("latency") > 0)
    evaluation.latency = latency_of(seconds, program_device().device.name());
  show_evaluation(evaluation, request);
  return kDone;
}

}  // namespace

void add_eval(CLI::App& app, Action& action) {
  auto a = std::make_shared<EvalArguments>();
  CLI::App* command = app.add_subcommand("eval", "measure a checkpoint's mAP on a data set");
  command->add_option("MODEL", a->model, "checkpoint, or folder of a run")->required();
  add_data_option(*command, a->data)->required();
  command->add_option("--split", a->split, "its split; default: data.val_split of the model");
  add_evaluation_options(*command, a->request, /*with_latency=*/true);
  command->add_option("--detections", a->detections, "write the detections as COCO results JSON")
      ->type_name("FILE");
  command
      ->add_option("--proposals", a->proposals,
                   "regions of `frcnn propose` instead of the model's own, as for a model of "
                   "train.scheme = \"detector_only\"")
      ->type_name("FILE");
  command->add_flag("--strict", a->strict, "any defect of the data set is an error");
  command
      ->add_option("--set", a->settings,
                   "change a setting of test., rpn.test. or the pictures' size: "
                   "--set test.nms_iou=0.5")
      ->take_all()
      ->type_name("KEY=VALUE");
  command->footer(
      "Example: frcnn eval runs/first --data VOC2007 --split test\n"
      "Example: frcnn eval runs/first --data VOC2007 --metrics voc,coco,errors,latency");
  command->callback([&action, a] { action = [a] { return eval(*a); }; });
}

}  // namespace frcnn::apps
