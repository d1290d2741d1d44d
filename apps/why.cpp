#include <CLI/CLI.hpp>

#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>

#include "apps/commands.h"
#include "apps/data_option.h"
#include "apps/load_detector.h"
#include "apps/model_file.h"
#include "apps/stop_signal.h"
#include "apps/terminal.h"
#include "apps/why_text.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

namespace fs = std::filesystem;

struct WhyCommand {
  ShowArguments source;
  std::string out;
  double score = 0.5, iou = 0.5;
  bool json = false, summary = false;
};

/// All objects of a picture, difficult ones and crowds marked, in pixels of the input.
JudgedTruth judged_truth(const ImageRecord& record, const Sample& sample) {
  JudgedTruth truth;
  for (const Object& object : record.objects) {
    const Box box = to_input(object.box, sample);
    GroundTruth& list = object.crowd ? truth.crowds : truth.objects;
    list.boxes.push_back(box);
    list.labels.push_back(object.label);
    if (!object.crowd) truth.difficult.push_back(object.difficult ? 1 : 0);
  }
  return truth;
}

ExplainedPicture explain(const Detector& detector, const Dataset& dataset, size_t index,
                         double limit) {
  const Config& config = detector.config();
  ExplainedPicture p;
  p.picture = shown_picture(dataset, index, config.model.preprocess, config.data.use_difficult);
  p.truth = judged_truth(dataset.images[index], p.picture.sample);
  const InputSize& size = p.picture.input.sizes[0];
  const InferenceRecord record = detector.model().record(p.picture.input);
  p.trace = trace_inference(record, size, detector.model().config(), detector.model().classes());
  const AnchorMatches matches =
      match_anchors(record.anchors, size, p.truth.objects, config.model.rpn);
  p.explanation = explain_picture(p.trace, p.truth, matches, detector.model().config(), size,
                                  detector.class_names(), limit);
  return p;
}

int why(const WhyCommand& command) {
  const fs::path file = model_file(command.source.model);
  Detector detector = load_detector(file, command.source.settings);
  detector.require_head(file.string());
  detector.require_rpn(file.string());
  detector.set_score_threshold(command.score);
  const std::vector<std::string>& classes = detector.class_names();
  const ShownSet set = shown_pictures(command.source, detector.config().data, classes);
  if (!command.out.empty()) {
    std::error_code error;
    fs::create_directories(command.out, error);
    check(!error, "{}: cannot make the folder: {}", command.out, error.message());
  }
  catch_stop_signals();
  WhySummary summary;
  std::vector<std::string> json;
  {
    Progress progress("why", static_cast<int64_t>(set.chosen.size()));
    for (size_t i = 0; i < set.chosen.size() && !stop_requested(); ++i) {
      const ExplainedPicture picture = explain(detector, set.dataset, set.chosen[i], command.iou);
      summary.add(picture);
      if (command.json)
        json.push_back(picture_json(picture, classes));
      else if (!command.summary)
        std::fputs(why_text(picture, classes).c_str(), stdout), std::fflush(stdout);
      if (!command.out.empty())
        write_image(why_picture(picture, classes),
                    fs::path(command.out) / (picture.picture.id + "-why.png"));
      progress.update(
          static_cast<int64_t>(i + 1),
          fmt::format("{} missed, {} false", summary.missed(), summary.false_detections()));
    }
  }
  if (stop_requested()) return stop_exit_code();
  std::fputs((command.json ? why_json(json, summary) : summary_text(summary)).c_str(), stdout);
  return kDone;
}

}  // namespace

void add_why(CLI::App& app, Action& action) {
  auto a = std::make_shared<WhyCommand>();
  CLI::App* command = app.add_subcommand(
      "why", "say for each missed object and false detection at which step it went wrong");
  a->source.count = std::numeric_limits<int>::max();
  command->add_option("MODEL", a->source.model, "checkpoint, or folder of a run")->required();
  add_data_option(*command, a->source.data)->required();
  command->add_option("--split", a->source.split, "its split")->capture_default_str();
  command->add_option("--image", a->source.images, "id of a picture; repeat it; default: all")
      ->type_name("ID")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
  command->add_option("--out", a->out, "folder for a picture of each image")->type_name("DIR");
  command
      ->add_option("--score", a->score,
                   "threshold at which the detector is judged, in the place of test.score")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--iou", a->iou, "least IoU of a right detection")
      ->check(CLI::Range(0.01, 1.0))
      ->capture_default_str();
  command->add_flag("--summary", a->summary, "print the summary alone");
  command->add_flag("--json", a->json, "print as JSON");
  command
      ->add_option("--set", a->source.settings,
                   "change a setting of test., rpn.test. or the pictures' size: "
                   "--set rpn.test.post_nms=1000")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
  command->footer(
      "Example: frcnn why runs/first --data VOC2007 --split test --image 000001 --out why");
  command->callback([&action, a] { action = [a] { return why(*a); }; });
}

}  // namespace frcnn::apps
