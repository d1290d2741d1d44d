#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/loader.h"
#include "data/proposal_recall.h"
#include "model/config.h"
#include "model/types.h"
#include "weights/proposal_file.h"

namespace frcnn {
class FasterRcnn;
}

namespace frcnn::apps {

/// Runs the RPN over a data set, one picture at a time and not mirrored, with a progress line.
/// `training` chooses the limits rpn.train or rpn.test. nullopt after Ctrl-C.
std::optional<ProposalSet> propose_all(const FasterRcnn& model, const Dataset& dataset,
                                       const Config& config, bool training,
                                       const std::string& source);

/// Proposals of a file for exactly the pictures of a data set, in its order. Throws Error naming
/// the first picture that the file lacks or whose size differs.
ProposalSet load_proposals_of(const std::filesystem::path& file, const Dataset& dataset);

/// Proposals of the samples in pixels of the network's input, mirrored where the sample is.
std::vector<std::vector<Box>> to_regions(const std::vector<Sample>& samples,
                                         const ProposalSet& proposals);

/// How well they cover the data set's objects.
ProposalRecall recall_of(const Dataset& dataset, const ProposalSet& proposals);
/// Table for a terminal, and JSON {"objects", "proposals_per_picture", "recall": [{"proposals",
/// "recall_50", "recall_70", "average_recall"}]}.
std::string recall_table(const ProposalRecall& recall);
std::string recall_json(const ProposalRecall& recall);

}  // namespace frcnn::apps
