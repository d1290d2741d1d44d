#pragma once

#include <vector>

#include "data/evaluate.h"
#include "data/loader.h"
#include "model/config.h"
#include "model/types.h"
#include "weights/proposal_file.h"

namespace frcnn {
class FasterRcnn;
}

namespace frcnn::apps {

/// Samples of the loader as the model takes them: padded to their largest size.
ModelInput to_model_input(const std::vector<Sample>& samples);

/// Objects of the samples; difficult ones only with `use_difficult`.
std::vector<GroundTruth> to_ground_truth(const std::vector<Sample>& samples, bool use_difficult);

/// Detections of one picture, mapped from the network's input to the picture.
std::vector<Detection> to_detections(const std::vector<ScoredBox>& boxes, const Sample& sample);

/// Settings of the loader of a training.
LoaderSettings training_settings(const Config& config);
/// Settings of a loader that gives every picture once, in order, not mirrored.
LoaderSettings inference_settings(const PreprocessConfig& preprocess, const DataConfig& config);

/// Runs the model over a data set, one picture at a time, with a progress line. Detections come in
/// the order of the pictures. Ends early, with what was found so far, after Ctrl-C. With
/// `proposals`, of the same pictures, they take the place of the RPN's. `seconds` is given the time
/// of each picture from the loaded sample to its detections.
std::vector<Detection> detect_all(const FasterRcnn& model, const Dataset& dataset,
                                  const PreprocessConfig& preprocess, const DataConfig& config,
                                  const ProposalSet* proposals = nullptr,
                                  std::vector<double>* seconds = nullptr);

}  // namespace frcnn::apps
