#pragma once

#include <cstdint>

namespace frcnn::kernels::cpu {

/// Indices of the k highest of `count` scores (all of them when k >= count), best first; of equal
/// scores (-0 equals 0) the lower index first; NaN last. Entries with keep[i] = 0 are left out.
/// Returns how many were written. Deterministic. count < 2^31.
template <typename T>
int64_t top_k(int64_t count, int64_t k,
              const T* scores,      // (count)
              const uint8_t* keep,  // (count), or nullptr
              int64_t* indices);    // (min(k, count))

/// top_k() of each of several segments (images, pyramid levels) of one score array: segment s holds
/// scores offsets[s] .. offsets[s + 1] - 1. Row s of `indices` begins with counts[s] positions in
/// the whole array; the rest of the row is -1.
template <typename T>
void top_k_segments(int64_t segments, int64_t k,
                    const int64_t* offsets,  // (segments + 1), rising
                    const T* scores,         // (offsets[segments])
                    const uint8_t* keep,     // (offsets[segments]), or nullptr
                    int64_t* indices,        // (segments, k)
                    int64_t* counts);        // (segments)

}  // namespace frcnn::kernels::cpu
