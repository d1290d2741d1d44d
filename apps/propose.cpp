#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>

#include "apps/commands.h"
#include "apps/data_option.h"
#include "apps/dataset_io.h"
#include "apps/load_detector.h"
#include "apps/model_file.h"
#include "apps/proposals.h"
#include "apps/stop_signal.h"
#include "kernels/launch/check.h"
#include "model/detector.h"
#include "model/faster_rcnn.h"

namespace frcnn::apps {
namespace {

struct ProposeArguments {
  std::string model, split, out;
  std::vector<std::string> data, settings;
  bool training = false, json = false, strict = false;
};

int propose(const ProposeArguments& arguments) {
  const auto file = model_file(arguments.model);
  const Detector detector = load_detector(file, arguments.settings);
  detector.require_rpn(file.string());
  const Dataset dataset = open_for_detector(arguments.data, arguments.split, detector.config().data,
                                            detector.class_names(), arguments.strict);
  require_not_empty(dataset, false);
  if (!arguments.json)
    std::printf("model   %s\ndata    %s: %zu pictures\n", file.c_str(), dataset.name.c_str(),
                dataset.images.size());
  std::fflush(stdout);
  catch_stop_signals();
  const auto proposals = propose_all(detector.model(), dataset, detector.config(),
                                     arguments.training, file.filename().string());
  if (!proposals) return stop_exit_code();
  if (!arguments.out.empty()) save_proposals(arguments.out, *proposals);
  const ProposalRecall recall = recall_of(dataset, *proposals);
  std::fputs((arguments.json ? recall_json(recall) : recall_table(recall)).c_str(), stdout);
  if (!arguments.json && !arguments.out.empty()) std::printf("wrote   %s\n", arguments.out.c_str());
  return kDone;
}

}  // namespace

void add_propose(CLI::App& app, Action& action) {
  auto a = std::make_shared<ProposeArguments>();
  CLI::App* command = app.add_subcommand(
      "propose", "write a model's region proposals and measure their recall on a data set");
  command->add_option("MODEL", a->model, "checkpoint, or folder of a run")->required();
  add_data_option(*command, a->data)->required();
  command->add_option("--split", a->split, "its split; default: data.val_split of the model");
  command->add_option("--out", a->out, "write the proposals to this HDF5 file (weights/FORMAT.md)")
      ->type_name("FILE");
  command->add_flag("--train-limits", a->training,
                    "as many proposals as in training (rpn.train instead of rpn.test)");
  command->add_flag("--strict", a->strict, "any defect of the data set is an error");
  command
      ->add_option("--set", a->settings,
                   "change a setting of rpn.test. or the pictures' size: --set "
                   "rpn.test.post_nms=1000")
      ->take_all()
      ->type_name("KEY=VALUE");
  command->add_flag("--json", a->json, "print the recall as JSON");
  command->footer(
      "Example: frcnn propose runs/rpn --data VOC2007 --split trainval --train-limits "
      "--out trainval.proposals.h5");
  command->callback([&action, a] { action = [a] { return propose(*a); }; });
}

}  // namespace frcnn::apps
