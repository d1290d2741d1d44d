#include "kernels/boxes/nms.h"

#include <algorithm>

#include "kernels/boxes/iou.cuh"
#include "kernels/boxes/nms_limit.h"

namespace frcnn::kernels::gpu {
namespace {

using Word = unsigned long long;  // 64 candidates

constexpr int kThreads = 256;
constexpr int kTile = 64;          // candidates of one word
constexpr int64_t kWindow = 1024;  // candidates that version `windows` decides together
constexpr int kWindowTiles = static_cast<int>(kWindow) / kTile;

template <typename T>
struct Member {
  AreaBox<T> box;
  int32_t group;
};

/// The candidates and the rule.
template <typename T>
struct Candidates {
  Segments segments;
  const T* boxes;
  const int32_t* groups;
  NmsLimit<T> limit;

  __device__ Member<T> load(int64_t position) const {
    return {load_box(boxes + 4 * position), groups == nullptr ? 0 : groups[position]};
  }
  /// Whether a kept box suppresses one that comes after it.
  __device__ bool suppresses(const Member<T>& kept, const Member<T>& other) const {
    if (kept.group != other.group) return false;
    const T inter = intersection(kept.box, other.box);
    const T both = union_area(kept.box, other.box, inter);
    if (!limit.always_divide && !(inter >= mul_rn(both, limit.coarse))) return false;
    return div_rn(inter, both) > limit.exact;
  }
};

/// Rows of positions that have been kept, and their lengths.
struct Result {
  int64_t max_keep;
  int32_t *kept, *counts;

  __device__ int32_t* row(int64_t s) const { return kept + s * max_keep; }
  __device__ bool full(int64_t s) const { return counts[s] >= max_keep; }
};

/// One block per segment: no box is kept, and (unless nullptr) none of the window is suppressed.
__global__ void reset_kernel(Result result, unsigned* suppressed) {
  const int64_t s = blockIdx.x;
  for (int64_t i = threadIdx.x; i < result.max_keep; i += blockDim.x) result.row(s)[i] = -1;
  if (threadIdx.x == 0) result.counts[s] = 0;
  if (suppressed != nullptr && threadIdx.x < kWindow / 32)
    suppressed[s * (kWindow / 32) + threadIdx.x] = 0;
}

// ------------------------------------------------------------------------------------------ naive

template <typename T>
__global__ void naive_kernel(const Candidates<T> candidates, const uint8_t* valid, Result result) {
  const int64_t s = blockIdx.x, first = candidates.segments.first(s);
  const int64_t end = first + candidates.segments.size(s);
  int32_t* row = result.row(s);
  int64_t count = 0;
  for (int64_t i = first; i < end && count < result.max_keep; ++i) {
    if (valid != nullptr && valid[i] == 0) continue;
    const Member<T> own = candidates.load(i);
    int hit = 0;
    for (int64_t k = threadIdx.x; k < count && hit == 0; k += blockDim.x)
      hit = candidates.suppresses(candidates.load(row[k]), own) ? 1 : 0;
    if (__syncthreads_or(hit) != 0) continue;
    if (threadIdx.x == 0) row[count] = static_cast<int32_t>(i);
    ++count;
    __syncthreads();
  }
  if (threadIdx.x == 0) result.counts[s] = static_cast<int32_t>(count);
}

// ---------------------------------------------------------------------------------------- bitmask

/// What is decided together: all candidates of a segment, or a window of them. Row i of the masks
/// has one bit for every candidate after i that i suppresses; words left of the diagonal are
/// neither written nor read.
struct Window {
  int64_t begin;  // within the segment
  int64_t room;   // most candidates
  int words;      // of a row: room / 64, rounded up
  Word* masks;    // (segments, room, words)

  __device__ Word* row(int64_t s, int64_t i) const { return masks + (s * room + i) * words; }
  /// Candidates of segment s.
  __device__ int64_t size(const Segments& segments, int64_t s) const {
    const int64_t left = segments.size(s) - begin;
    return left < 0 ? 0 : left < room ? left : room;
  }
};

/// Bits of 64 rows against 64 columns, by a block of 64 threads.
template <typename T>
__device__ void mask_tile(const Candidates<T>& candidates, const Window& window, int row_tile,
                          int column_tile) {
  FRCNN_SHARED(Member<T>, columns, [kTile]);
  const int64_t s = blockIdx.z, size = window.size(candidates.segments, s);
  if (column_tile < row_tile || column_tile * kTile >= size) return;
  const int64_t first = candidates.segments.first(s) + window.begin;
  const int64_t column = column_tile * kTile + static_cast<int64_t>(threadIdx.x);
  if (column < size) columns[threadIdx.x] = candidates.load(first + column);
  __syncthreads();
  const int64_t row = row_tile * kTile + static_cast<int64_t>(threadIdx.x);
  if (row >= size) return;
  const Member<T> own = candidates.load(first + row);
  const int count = static_cast<int>(std::min<int64_t>(kTile, size - column_tile * kTile));
  Word bits = 0;
  for (int j = row_tile == column_tile ? static_cast<int>(threadIdx.x) + 1 : 0; j < count; ++j)
    if (candidates.suppresses(own, columns[j])) bits |= Word{1} << j;
  window.row(s, row)[column_tile] = bits;
}

template <typename T>
__global__ void __launch_bounds__(kTile)
    mask_kernel(const Candidates<T> candidates, const Window window) {
  mask_tile(candidates, window, static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.x));
}

/// One block per segment goes through the tiles of the window: one thread decides the 64 candidates
/// of a tile, all threads then mark what the kept ones of them suppress further on.
__global__ void __launch_bounds__(kThreads)
    scan_kernel(const Segments segments, const uint8_t* valid, const Window window, Result result,
                unsigned* suppressed) {
  FRCNN_DYNAMIC_SHARED(Word, gone);
  FRCNN_SHARED(Word, diagonal, [kTile]);
  FRCNN_SHARED(unsigned, invalid, [kTile / 32]);
  FRCNN_SHARED(Word, chosen, [1]);
  const int64_t s = blockIdx.x, size = window.size(segments, s);
  const int64_t first = segments.first(s) + window.begin;
  const int t = static_cast<int>(threadIdx.x);
  if (size == 0 || result.full(s)) return;
  int64_t count = result.counts[s];
  const int tiles = static_cast<int>(ceil_div(size, kTile));
  for (int w = t; w < tiles; w += kThreads) {
    gone[w] = 0;
    if (suppressed == nullptr) continue;
    unsigned* halves = suppressed + s * (kWindow / 32) + 2 * w;
    gone[w] = Word{halves[1]} << 32 | halves[0];
    halves[0] = halves[1] = 0;  // for the next window
  }
  // Rows on the diagonal, fetched one tile ahead.
  const auto diagonal_word = [&](int tile) {
    const int64_t row = tile * kTile + static_cast<int64_t>(t);
    return t < kTile && row < size ? window.row(s, row)[tile] : Word{0};
  };
  Word ahead = diagonal_word(0);
  // In small windows several threads share a word, each with some of the rows.
  const int columns = tiles <= 16 ? 16 : kThreads, parts = kThreads / columns;
  const Word rows = (parts == 1 ? ~Word{0} : Word{0x0001000100010001}) << t / columns;

  for (int tile = 0; tile < tiles; ++tile) {
    const int64_t row = tile * kTile + static_cast<int64_t>(t);
    if (t < kTile) {
      const bool out = row >= size || (valid != nullptr && valid[first + row] == 0);
      const unsigned votes = __ballot_sync(kAllLanes, out ? 1 : 0);
      if (t % 32 == 0) invalid[t / 32] = votes;
      diagonal[t] = ahead;
    }
    if (tile + 1 < tiles) ahead = diagonal_word(tile + 1);
    __syncthreads();
    if (t == 0) {
      Word left = ~(gone[tile] | Word{invalid[1]} << 32 | invalid[0]), keep = 0;
      for (int64_t n = count; left != 0 && n < result.max_keep; ++n) {
        const int i = __ffsll(static_cast<long long>(left)) - 1;
        keep |= Word{1} << i;
        left &= ~(Word{1} << i | diagonal[i]);
      }
      chosen[0] = keep;
    }
    __syncthreads();
    const Word keep = chosen[0];
    if (t < kTile && (keep >> t & 1) != 0)
      result.row(s)[count + __popcll(keep & ((Word{1} << t) - 1))] =
          static_cast<int32_t>(first + row);
    count += __popcll(keep);
    if (count >= result.max_keep) break;
    for (int w = tile + 1 + t % columns; w < tiles; w += columns) {
      Word bits = 0;
      for (Word rest = keep & rows; rest != 0;) {
        Word words[8];  // loads under way at a time
        for (Word& word : words) {
          word = 0;
          if (rest == 0) continue;
          const int i = __ffsll(static_cast<long long>(rest)) - 1;
          rest &= rest - 1;
          word = window.row(s, tile * kTile + i)[w];
        }
        for (const Word word : words) bits |= word;
      }
      if (bits != 0) atomicOr(&gone[w], bits);
    }
  }
  if (t == 0) result.counts[s] = static_cast<int32_t>(count);
}

// ---------------------------------------------------------------------------------------- windows

/// Marks which of 64 candidates of the window are suppressed by boxes kept in earlier windows: this
/// block takes every `stride`-th 64 of those, from `part` on.
template <typename T>
__device__ void suppress_by_kept(const Candidates<T>& candidates, const Window& window,
                                 const Result& result, int tile, int part, int stride,
                                 unsigned* suppressed) {
  FRCNN_SHARED(Member<T>, members, [kTile]);
  const int64_t s = blockIdx.z, size = window.size(candidates.segments, s);
  if (tile * kTile >= size) return;
  const int64_t own_at = tile * kTile + static_cast<int64_t>(threadIdx.x);
  const int64_t count = result.counts[s];
  const bool real = own_at < size;
  const Member<T> own =
      candidates.load(candidates.segments.first(s) + window.begin + (real ? own_at : 0));
  bool hit = false;
  for (int64_t start = part * kTile; start < count; start += int64_t{stride} * kTile) {
    const int many = static_cast<int>(std::min<int64_t>(kTile, count - start));
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < many)
      members[threadIdx.x] = candidates.load(result.row(s)[start + threadIdx.x]);
    __syncthreads();
    for (int k = 0; k < many && !hit; ++k) hit = candidates.suppresses(members[k], own);
  }
  const unsigned votes = __ballot_sync(kAllLanes, hit && real ? 1 : 0);
  if (threadIdx.x % 32 == 0 && votes != 0)
    atomicOr(suppressed + s * (kWindow / 32) + (tile * kTile + threadIdx.x) / 32, votes);
}

/// Both questions about a window in one launch: columns [0, 16) of the grid ask for pairs within
/// it, the others for earlier boxes.
template <typename T>
__global__ void __launch_bounds__(kTile)
    window_kernel(const Candidates<T> candidates, const Window window, const Result result,
                  unsigned* suppressed) {
  if (result.full(blockIdx.z)) return;
  const int x = static_cast<int>(blockIdx.x), y = static_cast<int>(blockIdx.y);
  if (x < kWindowTiles)
    mask_tile(candidates, window, y, x);
  else
    suppress_by_kept(candidates, window, result, y, x - kWindowTiles,
                     static_cast<int>(gridDim.x) - kWindowTiles, suppressed);
}

template <typename T>
void nms_by_windows(Stream stream, const Candidates<T>& candidates, const uint8_t* valid,
                    const Result& result, void* workspace) {
  const Segments& segments = candidates.segments;
  const auto lists = static_cast<unsigned>(segments.count);
  Word* masks = static_cast<Word*>(workspace);
  auto* suppressed = reinterpret_cast<unsigned*>(masks + segments.count * kWindow * kWindowTiles);
  launch({"nms_reset", lists, kThreads, 0, stream}, reset_kernel, result, suppressed);
  for (int64_t begin = 0; begin < segments.capacity; begin += kWindow) {
    const Window window{begin, kWindow, kWindowTiles, masks};
    const int64_t kept = std::min(begin, result.max_keep);  // at most
    const auto parts = static_cast<unsigned>(std::min<int64_t>(16, ceil_div(kept, kTile)));
    launch({"nms_window", Dim3(kWindowTiles + parts, kWindowTiles, lists), kTile, 0, stream},
           window_kernel<T>, candidates, window, result, suppressed);
    launch({"nms_scan", lists, kThreads, kWindowTiles * sizeof(Word), stream}, scan_kernel,
           segments, valid, window, result, suppressed);
  }
}

template <typename T>
void nms_by_bitmask(Stream stream, const Candidates<T>& candidates, const uint8_t* valid,
                    const Result& result, void* workspace) {
  const Segments& segments = candidates.segments;
  const auto lists = static_cast<unsigned>(segments.count);
  const int words = static_cast<int>(ceil_div(segments.capacity, kTile));
  const Window window{0, segments.capacity, words, static_cast<Word*>(workspace)};
  const auto tiles = static_cast<unsigned>(words);
  launch({"nms_reset", lists, kThreads, 0, stream}, reset_kernel, result, nullptr);
  launch({"nms_mask", Dim3(tiles, tiles, lists), kTile, 0, stream}, mask_kernel<T>, candidates,
         window);
  if (words > 0)
    launch({"nms_scan", lists, kThreads, tiles * sizeof(Word), stream}, scan_kernel, segments,
           valid, window, result, nullptr);
}

}  // namespace

template <Backend backend>
size_t nms_workspace(const Segments& segments, NmsVersion version) {
  const auto lists = static_cast<size_t>(segments.count);
  const auto capacity = static_cast<size_t>(segments.capacity);
  if (version == NmsVersion::naive) return 0;
  if (version == NmsVersion::bitmask)
    return lists * capacity * ceil_div(capacity, size_t{kTile}) * sizeof(Word);
  return lists * (kWindow * kWindowTiles * sizeof(Word) + kWindow / 8);
}

template <Backend backend, typename T>
void nms_sorted(Stream stream, const Segments& segments, double threshold, int64_t max_keep,
                const T* boxes, const int32_t* groups, const uint8_t* valid, int32_t* kept,
                int32_t* counts, void* workspace, NmsVersion version) {
  check(segments.count <= 65535, "[nms] expected at most 65535 segments, got {}", segments.count);
  const Candidates<T> candidates{segments, boxes, groups, NmsLimit<T>(threshold)};
  const Result result{max_keep, kept, counts};
  const auto lists = static_cast<unsigned>(segments.count);
  switch (version) {
    case NmsVersion::naive:
      launch({"nms_reset", lists, kThreads, 0, stream}, reset_kernel, result, nullptr);
      launch({"nms_naive", lists, kThreads, 0, stream}, naive_kernel<T>, candidates, valid, result);
      return;
    case NmsVersion::bitmask:
      return nms_by_bitmask(stream, candidates, valid, result, workspace);
    case NmsVersion::windows:
      return nms_by_windows(stream, candidates, valid, result, workspace);
  }
}

template size_t nms_workspace<kBackend>(const Segments&, NmsVersion);
#define FRCNN_INSTANTIATE(T)                                                                       \
  template void nms_sorted<kBackend, T>(Stream, const Segments&, double, int64_t, const T*,        \
                                        const int32_t*, const uint8_t*, int32_t*, int32_t*, void*, \
                                        NmsVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
