#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/faster_rcnn.h"

namespace frcnn {

/// One stretch of a run: which weights are trained on which losses, and where it begins from. The
/// joint schemes have one; 4-step alternating training (paper, section 3.2) has four.
struct TrainStage {
  static constexpr int kInitial = -1;  ///< the weights before the first stage

  std::string name = "joint";  ///< "joint", "rpn", "detector"; used in names of files
  LossParts parts;
  FasterRcnn::TrainedParts trained;
  int64_t first_step = 0;  ///< updates of the run before it
  int64_t steps = 0;       ///< its own
  /// The RoIs: of the RPN in the same pass (nullopt), proposals that the RPN of an earlier stage
  /// made of all training pictures when it was trained, or with kInitial those of data.proposals.
  std::optional<int> proposals_from;
  /// Stages after which the weights of each part are taken as it begins.
  int backbone_from = kInitial, rpn_from = kInitial, detector_from = kInitial;
  std::optional<double> backbone_lr;  ///< instead of optimizer's

  int64_t end() const { return first_step + steps; }
};

/// The stages of train.scheme over `total_steps` updates:
///
///   approximate_joint      both losses, proposals are constants
///   non_approximate_joint  both losses, gradients flow through the proposals' coordinates, too
///   rpn_only               the RPN with the backbone
///   detector_only          the detection head with the backbone, on the proposals of
///   data.proposals alternating            1 the RPN with the backbone; 2 the detection head with a
///   backbone that
///                          begins anew, on the proposals of 1; 3 a new RPN on 2's backbone, which
///                          stays as it is; 4 2's detection head on 3's proposals, the backbone
///                          staying as it is
///
/// The steps of alternating are train.stage_steps, or total_steps divided 2:1:2:1 as the original
/// code's 80k, 40k, 80k, 40k. Throws UsageError when a stage would have no step.
std::vector<TrainStage> training_stages(const TrainConfig& config, int64_t total_steps);

/// Updates of a run: train.steps, train.epochs over `images` pictures, or the sum of
/// train.stage_steps.
int64_t run_length(const TrainConfig& config, int64_t images);

}  // namespace frcnn
