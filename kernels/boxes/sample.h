#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/boxes/batch.h"
#include "kernels/launch/gpu.h"
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

/// sample_labels() on a GPU for every segment of a batch, the same entries exactly.
enum class SampleVersion : uint8_t { naive, radix };
inline constexpr gpu::KernelVersion kSampleVersions[] = {
    {"naive", "one thread per entry counts the smaller numbers of its kind"},
    {"radix", "radix select of the limit of each kind, one block per segment"},
};

namespace gpu {

/// Bytes of device memory that sample_labels() needs, whatever is in it.
template <Backend backend>
size_t sample_workspace(const Segments& segments, SampleVersion version);

/// Segment s draws with stream key.stream + kStreamStride * s, so that every image of a batch has
/// numbers of its own; entry i of it has number i. With `step` (device memory) the step of the key
/// is read from there: a captured graph may be replayed for the next step. Labels beyond the size
/// of a segment become -1 (not with segments.offsets).
template <Backend backend>
void sample_labels(Stream stream, const SampleParams& params, const RandomKey& key,
                   const Segments& segments,
                   int32_t* labels,  // (all entries), in place
                   int32_t* counts,  // (segments, 2): chosen above 0, chosen of label 0
                   int32_t* chosen,  // (segments, batch) positions of both in the whole array,
                                     // rising, -1 behind them; or nullptr
                   void* workspace, const uint64_t* step = nullptr,
                   SampleVersion version = SampleVersion::radix);

}  // namespace gpu
}  // namespace frcnn::kernels
