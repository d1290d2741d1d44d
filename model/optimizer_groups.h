#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/optimizer.h"
#include "model/config.h"
#include "model/faster_rcnn.h"

namespace frcnn {

/// The optimiser of a model: three branches, "backbone", "rpn" and "detector", with up to three
/// groups each: weights, "<branch> biases" and "<branch> norms" (scales of batch norm, which go
/// with the weights' rate and the biases' decay). Parameters that are not trained are left out. A
/// branch takes from its own section what is set there, and the rest from [optimizer].
/// `total_steps` is the length of the run in updates: the schedule's shares refer to it.
void add_parameter_groups(Optimizer& optimizer, const Parameters& parameters,
                          const OptimizerConfig& config, int64_t total_steps);

/// Names of the groups that a model has with all weights of the given parts trained.
std::vector<std::string> group_names(const Parameters& parameters,
                                     const FasterRcnn::TrainedParts& trained);

/// The rule of one branch's weights. Throws UsageError for words that do not exist.
GroupSettings branch_settings(const OptimizerConfig& common, const OptimizerOverride& own,
                              int64_t total_steps);

}  // namespace frcnn
