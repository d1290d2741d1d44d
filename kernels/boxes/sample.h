#pragma once

#include <cstdint>

#include "kernels/random/philox.h"

namespace frcnn::kernels {

struct SampleParams {
  int64_t batch = 256;         ///< how many entries are to be chosen
  int64_t max_positive = 128;  ///< at most so many of them with label > 0
};
struct SampleCounts {
  int64_t positive = 0, negative = 0;
};

namespace cpu {

/// Chooses at random and without bias up to max_positive entries with label > 0, then fills up to
/// `batch` with entries of label 0 (Ren et al., section 3.1.3); all others become -1. In place.
///
/// Entry i has the random number (random_bits(key, i), i), and of each kind those with the smallest
/// are chosen: the same on every device and with any number of threads. Too few negatives leave the
/// sample smaller than `batch`.
SampleCounts sample_labels(const SampleParams& params, const RandomKey& key, int64_t count,
                           int32_t* labels);  // (count)

}  // namespace cpu
}  // namespace frcnn::kernels
