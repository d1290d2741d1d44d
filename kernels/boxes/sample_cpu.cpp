#include "kernels/boxes/sample.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace frcnn::kernels::cpu {
namespace {

using Ticket = std::pair<uint32_t, int64_t>;

/// Keeps the `wanted` smallest tickets and sets the labels of the others to -1. Returns how many
/// stay.
int64_t keep_smallest(std::vector<Ticket>& tickets, int64_t wanted, int32_t* labels) {
  const auto size = static_cast<int64_t>(tickets.size());
  const int64_t kept = std::max<int64_t>(0, std::min(wanted, size));
  if (kept < size) {
    std::nth_element(tickets.begin(), tickets.begin() + kept, tickets.end());
    for (int64_t i = kept; i < size; ++i) labels[tickets[static_cast<size_t>(i)].second] = -1;
  }
  return kept;
}

}  // namespace

SampleCounts sample_labels(const SampleParams& params, const RandomKey& key, int64_t count,
                           int32_t* labels) {
  std::vector<Ticket> positives, negatives;
  for (int64_t i = 0; i < count; ++i) {
    if (labels[i] < 0) continue;
    (labels[i] > 0 ? positives : negatives)
        .emplace_back(random_bits(key, static_cast<uint64_t>(i)), i);
  }
  SampleCounts counts;
  counts.positive = keep_smallest(positives, std::min(params.max_positive, params.batch), labels);
  counts.negative = keep_smallest(negatives, params.batch - counts.positive, labels);
  return counts;
}

}  // namespace frcnn::kernels::cpu
