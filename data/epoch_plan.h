#pragma once

#include <cstdint>
#include <vector>

#include "data/dataset.h"

namespace frcnn {

/// Which pictures an epoch has, in their order.
struct EpochPlan {
  std::vector<int64_t> pictures;  ///< as many as the data set has
  std::vector<int64_t> copies;    ///< how often each stood in the epoch before
};

/// How often a picture should be seen, relative to the others, so that rare classes are learned
/// (Gupta et al., LVIS, CVPR 2019, section 4.1): for a class that a share f of the pictures has,
/// max(1, sqrt(share / f)); for a picture the most of its classes. 1 for all where `share` is 0.
/// Objects that are difficult or crowds don't count.
std::vector<double> repeat_factors(const Dataset& dataset, double share);

/// As many pictures as there are factors, each on average in proportion to its factor and by less
/// than one more or less often, sorted: systematic sampling with a start drawn from (seed, epoch).
/// Equal factors give each picture once.
std::vector<int64_t> balanced_pictures(const std::vector<double>& factors, uint64_t seed,
                                       int64_t epoch);

/// Reorders pictures so that batches hold wide ones or tall ones alone (`tall` by picture), in the
/// order in which they come; the full batches are shuffled by (seed, epoch). The first `begun`
/// pictures complete a batch of the epoch before and stay; what fills no batch comes last.
std::vector<int64_t> group_by_shape(const std::vector<int64_t>& order,
                                    const std::vector<uint8_t>& tall, int64_t batch, int64_t begun,
                                    uint64_t seed, int64_t epoch);

/// The plan of an epoch whose batches go on over its ends. `factors` empty: every picture once;
/// `tall` empty: no groups. Depends on (seed, epoch), the factors and shapes alone.
EpochPlan plan_epoch(int64_t images, const std::vector<double>& factors,
                     const std::vector<uint8_t>& tall, int64_t batch, uint64_t seed, int64_t epoch);

}  // namespace frcnn
