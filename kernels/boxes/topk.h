#pragma once

#include <cstdint>

namespace frcnn::kernels::cpu {

/// Indices of the k highest of `count` scores (all of them when k >= count), best first; of equal
/// scores the lower index first; NaN last. Entries with keep[i] = 0 are left out. Returns how many
/// were written. Deterministic.
template <typename T>
int64_t top_k(int64_t count, int64_t k,
              const T* scores,      // (count)
              const uint8_t* keep,  // (count), or nullptr
              int64_t* indices);    // (min(k, count))

}  // namespace frcnn::kernels::cpu
