#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/boxes/batch.h"
#include "kernels/launch/gpu.h"

namespace frcnn::kernels {
namespace cpu {

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

}  // namespace cpu

/// top_k_segments() on a GPU, the same order exactly. `indices` and `counts` are 32-bit.
enum class TopKVersion : uint8_t { naive, block, grid };
inline constexpr gpu::KernelVersion kTopKVersions[] = {
    {"naive", "one thread per score counts the better ones: its place"},
    {"block", "radix select and a bitonic sort in shared memory, one block per segment", 80},
    {"grid", "radix select by the whole grid; only what it selected is counted against itself"},
};

namespace gpu {

/// Bytes of device memory that top_k_segments() needs, whatever is in it.
template <Backend backend, typename T>
size_t top_k_workspace(const Segments& segments, int64_t k, TopKVersion version);

/// Row s of `indices` begins with counts[s] positions in the whole array, best first; the rest of
/// the row is -1. The array has fewer than 2^31 scores. `block` sorts up to 96 KiB of pairs (k <=
/// 12288 for float, 6144 for double); with larger k it does as `grid`, whose last part takes time
/// as the square of the number selected.
template <Backend backend, typename T>
void top_k_segments(Stream stream, const Segments& segments, int64_t k,
                    const T* scores,      // (all entries)
                    const uint8_t* keep,  // (all entries), or nullptr
                    int32_t* indices,     // (segments, k)
                    int32_t* counts,      // (segments)
                    void* workspace, TopKVersion version = TopKVersion::grid);

}  // namespace gpu
}  // namespace frcnn::kernels
