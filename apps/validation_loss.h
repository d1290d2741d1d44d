#pragma once

#include <optional>

#include "data/dataset.h"
#include "model/config.h"
#include "model/faster_rcnn.h"
#include "model/trainer.h"
#include "weights/proposal_file.h"

namespace frcnn::apps {

/// Mean losses over the pictures of a validation set, with the network as it detects
/// (LossParts::evaluation): nothing is dropped, batch norms take their running statistics, pictures
/// are not augmented. Objects, proposals (rpn.train) and samples are those that training would
/// take; the random numbers of the samples belong to the picture, so that validations differ by
/// the weights alone, and to passes that no training reaches. `parts` are those of the stage; with
/// `proposals`, of the same pictures, they take the place of the RPN's. The model is not changed.
/// `updates` of the result counts the pictures. nullopt after Ctrl-C.
std::optional<StepStats> validation_losses(const FasterRcnn& model, const Dataset& dataset,
                                           const Config& config, LossParts parts,
                                           const ProposalSet* proposals = nullptr);

}  // namespace frcnn::apps
