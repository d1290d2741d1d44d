#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/boxes/batch.h"
#include "kernels/launch/gpu.h"

namespace frcnn::kernels {
namespace cpu {

/// Greedy non-maximum suppression of boxes that are sorted by falling score: box i is kept unless
/// its IoU with a box kept before it exceeds `threshold` (strictly, as in torchvision); stops after
/// `max_keep`. With groups, only boxes of one group (class, image) suppress each other. Writes the
/// positions of the kept boxes, rising, and returns their number.
///
/// The IoU is computed in T, each operation rounded by itself, and compared with the threshold as a
/// real number: an overlap of 3/10 in float is a little more than 0.3 and suppresses, as in
/// torchvision. Two empty boxes never suppress each other, even at the same place; NaN coordinates
/// neither suppress nor are suppressed. Memory O(count), time O(count * kept) pairs. Deterministic.
template <typename T>
int64_t nms_sorted(int64_t count, double threshold, int64_t max_keep,
                   const T* boxes,         // (count, 4), best first
                   const int32_t* groups,  // (count), or nullptr: all in one
                   int64_t* kept);         // (min(count, max_keep))

/// The same for boxes in any order: they are taken by falling score, equal scores by rising index,
/// NaN scores last. Writes indices into `boxes`, best first.
template <typename T>
int64_t nms(int64_t count, double threshold, int64_t max_keep,
            const T* boxes,         // (count, 4)
            const T* scores,        // (count)
            const int32_t* groups,  // (count), or nullptr: all in one
            int64_t* kept);         // (min(count, max_keep))

}  // namespace cpu

/// nms_sorted() on a GPU for every segment of a batch, exactly the same boxes for thresholds >= 0:
/// the overlaps are the same bits. Nothing is decided on the host.
enum class NmsVersion : uint8_t { naive, bitmask, windows };
inline constexpr gpu::KernelVersion kNmsVersions[] = {
    {"naive", "one block per segment: every candidate in turn against all boxes kept so far"},
    {"bitmask", "all pairs at once as bits of 64-bit words; one block per segment then scans them"},
    {"windows",
     "bits for 1024 candidates at a time, after those kept before have suppressed: "
     "memory does not grow with the square, and work stops at max_keep"},
};

namespace gpu {

/// Bytes of device memory that nms_sorted() needs, whatever is in it: 0 for `naive`, for each
/// segment capacity^2 / 8 for `bitmask` and 128 KiB for `windows`.
template <Backend backend>
size_t nms_workspace(const Segments& segments, NmsVersion version);

/// Row s of `kept` begins with counts[s] positions in the whole array, rising; the rest of the row
/// is -1. Candidates with valid[i] = 0 take no part: they are neither kept nor suppress. The array
/// has fewer than 2^31 boxes and begins at a multiple of 16 bytes. At most 65535 segments.
template <Backend backend, typename T>
void nms_sorted(Stream stream, const Segments& segments, double threshold, int64_t max_keep,
                const T* boxes,         // (all entries, 4), of each segment best first
                const int32_t* groups,  // (all entries), or nullptr: all in one
                const uint8_t* valid,   // (all entries), or nullptr: all
                int32_t* kept,          // (segments, max_keep)
                int32_t* counts,        // (segments)
                void* workspace, NmsVersion version = NmsVersion::windows);

}  // namespace gpu
}  // namespace frcnn::kernels
