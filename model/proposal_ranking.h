#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"
#include "model/rpn.h"
#include "model/types.h"

namespace frcnn {

/// The proposal layer before suppression: what make_proposals() suppresses, and what an explanation
/// of it looks at. All arrays are of one image.
template <typename T>
struct RankedProposals {
  std::vector<T> scores;       ///< (anchors) objectness logits, object minus background
  std::vector<T> boxes;        ///< (anchors, 4) decoded and clipped
  std::vector<uint8_t> large;  ///< (anchors) 1 where no side is below min_size
  std::vector<int64_t> order;  ///< anchors that go into suppression, best first
};

/// Decodes, clips, filters by size and ranks the anchors (count, 4) of image `image` of a batch.
/// For T = float and double.
template <typename T>
RankedProposals<T> rank_proposals(const RpnOutput& output, const Tensor& anchors, int64_t image,
                                  const InputSize& size, const RpnConfig& rpn,
                                  const ProposalConfig& limits);

}  // namespace frcnn
