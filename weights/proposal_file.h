#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "kernels/boxes/box.h"

namespace frcnn {

/// Regions of one picture where objects may be, best first.
struct PictureProposals {
  std::string id;             ///< name of the picture without folder and extension
  int width = 0, height = 0;  ///< of the picture, pixels
  std::vector<Box> boxes;     ///< in pixels of the picture
  std::vector<float> scores;  ///< one per box
};

/// Proposals of the pictures of a data set, in its order: what the detector of one stage of
/// training is trained on, or what `frcnn propose` wrote.
struct ProposalSet {
  std::string source;  ///< what made them, for people
  std::string data;    ///< fingerprint of the data set; "" is not compared
  std::vector<PictureProposals> pictures;
};

/// One HDF5 file (weights/FORMAT.md, "Proposals"), written as a whole or not at all; the same
/// content gives the same bytes. Throws Error.
void save_proposals(const std::filesystem::path& file, const ProposalSet& proposals);
/// Throws Error with one sentence for a file that is missing, damaged or of another kind, and for
/// counts, scores or boxes that cannot be right, naming the picture.
ProposalSet load_proposals(const std::filesystem::path& file);

}  // namespace frcnn
