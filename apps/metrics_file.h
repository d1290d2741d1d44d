#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "data/evaluate.h"
#include "data/proposal_recall.h"
#include "model/trainer.h"

namespace frcnn::apps {

/// metrics.json of a run: {"validations": [{"step", "epoch", "split", "images", "iou", "map_area",
/// ...}]}, one entry per validation; where losses were computed, "losses": {"total", "rpn_class",
/// "rpn_box", "roi_class", "roi_box"}. Beside it validation.csv, a row per validation: step, epoch,
/// losses under log.csv's names, mAP and recall; a cell is empty where there is no such number.
class MetricsFile {
 public:
  explicit MetricsFile(std::filesystem::path path) : path_(std::move(path)) {}

  /// Whether there is a validation, or a recall, of this step.
  bool has(int64_t step) const;
  /// Adds a validation, in the place of one of the same step.
  void add(int64_t step, double epoch, const std::string& split, int64_t images,
           const EvaluationResult& result, const std::optional<StepStats>& losses = {});
  /// Adds the recall of proposals to the list "proposals": {"step", "epoch", "split", "images",
  /// "stage", ...} as recall_json() has it.
  void add_recall(int64_t step, double epoch, const std::string& split, int64_t images,
                  const std::string& stage, const ProposalRecall& recall,
                  const std::optional<StepStats>& losses = {});
  /// Removes the validations after `step` (of a run that is resumed before them).
  void cut_after(int64_t step);
  /// The file's content; {"validations": []} when there is none. Throws Error for a broken file.
  std::string text() const;

 private:
  std::filesystem::path path_;
};

}  // namespace frcnn::apps
