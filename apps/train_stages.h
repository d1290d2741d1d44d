#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/proposals.h"
#include "apps/run_folder.h"
#include "model/trainer.h"

namespace frcnn::apps {

/// What the stages of a run leave in RUN/stages for those after them: weights before the first
/// stage (0-initial.h5) and after each (1-rpn.h5 ...), and the proposals that a stage is trained on
/// (2-proposals.h5). A stage begins from these files alone, so that a run that was killed between
/// two stages goes on as one that was not.
class StageFiles {
 public:
  StageFiles(const RunFolder& folder, const std::vector<TrainStage>& stages)
      : root_(folder.stages()), stages_(stages) {}

  /// File of the weights after a stage; TrainStage::kInitial: before the first.
  std::filesystem::path weights(int stage) const;
  std::filesystem::path proposals(size_t stage) const;
  /// Keeps weights and buffers of a checkpoint, without what only training needs.
  void save_weights(int stage, Checkpoint checkpoint) const;
  /// Gives a trainer of a stage the weights it begins with.
  void load_into(Trainer& trainer) const;
  /// Proposals for a stage: from its file, or made by the RPN it is to learn from and written.
  /// nullopt when it needs none, or after Ctrl-C.
  std::optional<ProposalSet> proposals_for(size_t stage, const Config& config,
                                           const Dataset& training, Device device) const;

 private:
  std::filesystem::path root_;
  std::vector<TrainStage> stages_;
};

/// MD5 of the weights and buffers of the shared layers: names, and numbers bit by bit.
std::string backbone_md5(const Checkpoint& checkpoint);

}  // namespace frcnn::apps
