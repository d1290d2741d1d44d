#include "kernels/boxes/topk.h"

#include <algorithm>
#include <limits>

#include "kernels/boxes/radix_select.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int kBlockThreads = 1024;                  // version `block`
constexpr size_t kMostPairBytes = size_t{96} << 10;  // of shared memory, on every GPU from 8.0 on
constexpr int kRankThreads = 128;                    // small blocks: more of them share the work

template <typename T>
using Key = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

__device__ uint32_t bits_of(float x) {
  return __float_as_uint(x);
}
__device__ uint64_t bits_of(double x) {
  return static_cast<uint64_t>(__double_as_longlong(x));
}

/// A number that rises where the score falls; the largest for NaN.
template <typename T>
__device__ Key<T> falling_key(T score) {
  constexpr Key<T> kMost = std::numeric_limits<Key<T>>::max();
  if (score != score) return kMost;
  const Key<T> bits = bits_of(score + T(0));  // -0 becomes 0
  return (bits >> (sizeof(T) * 8 - 1)) != 0 ? bits : bits ^ (kMost >> 1);
}

/// The pairs of one segment: smaller pairs come first.
template <typename T>
struct Entries {
  const T* scores;
  const uint8_t* keep;
  int64_t first, size;

  __device__ Entries(const Segments& segments, int64_t s, const T* all, const uint8_t* all_keep)
      : scores(all + segments.first(s)),
        keep(all_keep == nullptr ? nullptr : all_keep + segments.first(s)),
        first(segments.first(s)),
        size(segments.size(s)) {}
  /// False when entry i is left out.
  __device__ bool operator()(int64_t i, Pair<Key<T>>* pair) const {
    if (keep != nullptr && keep[i] == 0) return false;
    *pair = {falling_key(scores[i]), static_cast<uint32_t>(i)};
    return true;
  }
};

// ------------------------------------------------------------------------------------------ naive

/// One block per segment: how many are kept, and -1 in the whole row.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    count_kernel(const Segments segments, int64_t k, const uint8_t* keep, int32_t* indices,
                 int32_t* counts) {
  const int64_t s = blockIdx.x, first = segments.first(s), size = segments.size(s);
  int kept = 0, total = 0;
  for (int64_t i = threadIdx.x; i < size; i += kThreads)
    kept += keep == nullptr || keep[first + i] != 0 ? 1 : 0;
  for (int64_t i = threadIdx.x; i < k; i += kThreads) indices[s * k + i] = -1;
  block_scan<kThreads>(kept, &total);
  if (threadIdx.x == 0) counts[s] = total < k ? total : static_cast<int32_t>(k);
}

template <typename T>
__global__ void place_kernel(const Segments segments, int64_t k, const T* scores,
                             const uint8_t* keep, int32_t* indices) {
  const Entries<T> entries(segments, blockIdx.y, scores, keep);
  for (int64_t i = grid_first(); i < entries.size; i += grid_step()) {
    Pair<Key<T>> own, other;
    if (!entries(i, &own)) continue;
    int64_t place = 0;
    for (int64_t j = 0; j < entries.size; ++j) place += entries(j, &other) && other < own ? 1 : 0;
    if (place < k) indices[blockIdx.y * k + place] = static_cast<int32_t>(entries.first + i);
  }
}

// ------------------------------------------------------------------------------------------ block

/// Bitonic sort of any number of pairs (Batcher, AFIPS 1968, in the form whose comparisons all have
/// the smaller one first): those beyond the end would be the largest and never move.
template <typename K>
__device__ void sort_in_block(Pair<K>* pairs, int count) {
  const auto order = [&](int a, int b) {
    if (b < count && pairs[b] < pairs[a]) {
      const Pair<K> larger = pairs[a];
      pairs[a] = pairs[b];
      pairs[b] = larger;
    }
  };
  int padded = 2;
  while (padded < count) padded *= 2;
  for (int size = 2; size <= padded; size *= 2) {
    // Two sorted halves: compare from both ends towards the middle, then ever closer neighbours.
    for (int i = static_cast<int>(threadIdx.x); i < padded / 2; i += kBlockThreads) {
      const int at = i & (size / 2 - 1), start = 2 * (i - at);
      order(start + at, start + size - 1 - at);
    }
    __syncthreads();
    for (int step = size / 4; step > 0; step /= 2) {
      for (int i = static_cast<int>(threadIdx.x); i < padded / 2; i += kBlockThreads) {
        const int at = i & (step - 1), a = 2 * (i - at) + at;
        order(a, a + step);
      }
      __syncthreads();
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(kBlockThreads, 1)
    block_kernel(const Segments segments, int64_t k, int passes, const T* scores,
                 const uint8_t* keep, int32_t* indices, int32_t* counts) {
  FRCNN_DYNAMIC_SHARED(Pair<Key<T>>, pairs);  // first the counters of the selection
  FRCNN_SHARED(int, filled, [1]);
  const int64_t s = blockIdx.x;
  const Entries<T> entries(segments, s, scores, keep);
  if (threadIdx.x == 0) filled[0] = 0;
  const Search<Key<T>> search = select_in_block<kBlockThreads, Key<T>>(
      entries.size, k, passes, reinterpret_cast<unsigned*>(pairs), entries);
  for (int64_t i = threadIdx.x; i < entries.size; i += kBlockThreads) {
    Pair<Key<T>> pair;
    if (entries(i, &pair) && search.selects(pair)) pairs[atomicAdd(&filled[0], 1)] = pair;
  }
  __syncthreads();
  sort_in_block(pairs, search.chosen);
  for (int64_t i = threadIdx.x; i < k; i += kBlockThreads)
    indices[s * k + i] =
        i < search.chosen ? static_cast<int32_t>(entries.first + pairs[i].index) : -1;
  if (threadIdx.x == 0) counts[s] = search.chosen;
}

// ------------------------------------------------------------------------------------------- grid

/// What the blocks of a segment share, in global memory.
template <typename K>
struct Shared {
  Search<K> search;
  unsigned finished;  // blocks of this pass
  int filled;
  unsigned histogram[kDigits];
};

/// Memory of version `grid`: Shared for each segment, then k pairs for each.
template <typename K>
struct GridWork {
  Shared<K>* shared;
  Pair<K>* pairs;
  GridWork(void* workspace, const Segments& segments)
      : shared(static_cast<Shared<K>*>(workspace)),
        pairs(reinterpret_cast<Pair<K>*>(shared + segments.count)) {}
};

template <typename K>
__global__ void reset_kernel(GridWork<K> work) {
  Shared<K>& shared = work.shared[blockIdx.x];
  for (int d = static_cast<int>(threadIdx.x); d < kDigits; d += kThreads) shared.histogram[d] = 0;
  if (threadIdx.x != 0) return;
  shared.search = {{0, 0}, 0, 0, 0};
  shared.finished = 0;
  shared.filled = 0;
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    histogram_kernel(const Segments segments, int64_t k, int pass, int passes, const T* scores,
                     const uint8_t* keep, GridWork<Key<T>> work) {
  FRCNN_SHARED(unsigned, histogram, [kDigits]);
  Shared<Key<T>>& shared = work.shared[blockIdx.y];
  const Entries<T> entries(segments, blockIdx.y, scores, keep);
  const Search<Key<T>> search = shared.search;
  if (search.done != 0) return;
  for (int d = static_cast<int>(threadIdx.x); d < kDigits; d += kThreads) histogram[d] = 0;
  __syncthreads();
  for (int64_t i = grid_first(); i < entries.size; i += grid_step()) {
    Pair<Key<T>> pair;
    if (entries(i, &pair) && shares_digits(pair, search.bound, pass, passes))
      atomicAdd(&histogram[digit_of(pair, pass, passes)], 1u);
  }
  __syncthreads();
  for (int d = static_cast<int>(threadIdx.x); d < kDigits; d += kThreads)
    if (histogram[d] != 0) atomicAdd(&shared.histogram[d], histogram[d]);
  if (!is_last_block(&shared.finished, gridDim.x)) return;
  pick_digit<kThreads>(shared.histogram, pass, passes, k, &shared.search);
  for (int d = static_cast<int>(threadIdx.x); d < kDigits; d += kThreads) shared.histogram[d] = 0;
}

/// Copies the selected pairs together, in any order.
template <typename T>
__global__ void gather_kernel(const Segments segments, int64_t k, const T* scores,
                              const uint8_t* keep, GridWork<Key<T>> work) {
  Shared<Key<T>>& shared = work.shared[blockIdx.y];
  const Entries<T> entries(segments, blockIdx.y, scores, keep);
  const Search<Key<T>> search = shared.search;
  const int lane = static_cast<int>(threadIdx.x % kWarpSize);
  // Whole warps stay together for the vote.
  const int64_t rounds = ceil_div(entries.size, grid_step());
  for (int64_t round = 0; round < rounds; ++round) {
    const int64_t i = round * grid_step() + grid_first();
    Pair<Key<T>> pair;
    const bool chosen = i < entries.size && entries(i, &pair) && search.selects(pair);
    const unsigned votes = __ballot_sync(kAllLanes, chosen ? 1 : 0);
    int place = 0;
    if (lane == 0 && votes != 0) place = atomicAdd(&shared.filled, __popc(votes));
    place = __shfl_sync(kAllLanes, place, 0);
    if (chosen) work.pairs[blockIdx.y * k + place + __popc(votes & ((1u << lane) - 1u))] = pair;
  }
}

/// The place of a selected pair is the number of smaller ones, which pass through shared memory.
template <typename T>
__global__ void __launch_bounds__(kRankThreads)
    rank_kernel(const Segments segments, int64_t k, GridWork<Key<T>> work, int32_t* indices,
                int32_t* counts) {
  FRCNN_SHARED(Pair<Key<T>>, tile, [kRankThreads]);
  const int64_t s = blockIdx.y, count = work.shared[s].search.chosen;
  const int64_t i = grid_first();
  if (i == 0) counts[s] = static_cast<int32_t>(count);
  if (blockIdx.x * int64_t{kRankThreads} >= count) {  // the whole block is beyond the end
    if (i < k) indices[s * k + i] = -1;
    return;
  }
  const Pair<Key<T>>* pairs = work.pairs + s * k;
  const Pair<Key<T>> own = pairs[i < count ? i : 0];
  int64_t place = 0;
  for (int64_t first = 0; first < count; first += kRankThreads) {
    const int many = static_cast<int>(std::min<int64_t>(kRankThreads, count - first));
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < many) tile[threadIdx.x] = pairs[first + threadIdx.x];
    __syncthreads();
    int smaller = 0;
    for (int j = 0; j < many; ++j) smaller += tile[j] < own ? 1 : 0;
    place += smaller;
  }
  if (i < count)
    indices[s * k + place] = static_cast<int32_t>(segments.first(s) + own.index);
  else if (i < k)
    indices[s * k + i] = -1;
}

template <typename T>
size_t block_bytes(int64_t k) {
  return std::max(static_cast<size_t>(k) * sizeof(Pair<Key<T>>), kDigits * sizeof(unsigned));
}
template <typename T>
bool fits_block(int64_t k) {
  return block_bytes<T>(k) <= kMostPairBytes;
}

template <typename T>
void select_by_grid(Stream stream, const Segments& segments, int64_t k, const T* scores,
                    const uint8_t* keep, int32_t* indices, int32_t* counts, void* workspace) {
  constexpr int64_t kMostBlocks = 256;  // each adds up to kDigits counters per pass
  const auto lists = static_cast<unsigned>(segments.count);
  const GridWork<Key<T>> work(workspace, segments);
  const int passes = select_passes<Key<T>>(segments.capacity);
  const Dim3 grid(std::max(1u, blocks_for(segments.capacity, 4 * kThreads, kMostBlocks)), lists);
  launch({"top_k_reset", lists, kThreads, 0, stream}, reset_kernel<Key<T>>, work);
  for (int pass = 0; pass < passes; ++pass)
    launch({"top_k_histogram", grid, kThreads, 0, stream}, histogram_kernel<T>, segments, k, pass,
           passes, scores, keep, work);
  launch({"top_k_gather", grid, kThreads, 0, stream}, gather_kernel<T>, segments, k, scores, keep,
         work);
  const auto blocks = static_cast<unsigned>(std::max<int64_t>(1, ceil_div(k, kRankThreads)));
  launch({"top_k_rank", Dim3(blocks, lists), kRankThreads, 0, stream}, rank_kernel<T>, segments, k,
         work, indices, counts);
}

}  // namespace

template <Backend backend, typename T>
size_t top_k_workspace(const Segments& segments, int64_t k, TopKVersion version) {
  if (version == TopKVersion::naive || (version == TopKVersion::block && fits_block<T>(k)))
    return 0;
  return static_cast<size_t>(segments.count) *
         (sizeof(Shared<Key<T>>) + static_cast<size_t>(k) * sizeof(Pair<Key<T>>));
}

template <Backend backend, typename T>
void top_k_segments(Stream stream, const Segments& segments, int64_t k, const T* scores,
                    const uint8_t* keep, int32_t* indices, int32_t* counts, void* workspace,
                    TopKVersion version) {
  const auto lists = static_cast<unsigned>(segments.count);
  if (version == TopKVersion::naive) {
    launch({"top_k_count", lists, kThreads, 0, stream}, count_kernel<T>, segments, k, keep, indices,
           counts);
    launch(
        {"top_k_place", Dim3(blocks_for(segments.capacity, kThreads), lists), kThreads, 0, stream},
        place_kernel<T>, segments, k, scores, keep, indices);
  } else if (version == TopKVersion::block && fits_block<T>(k)) {
    launch({"top_k_block", lists, kBlockThreads, block_bytes<T>(k), stream}, block_kernel<T>,
           segments, k, select_passes<Key<T>>(segments.capacity), scores, keep, indices, counts);
  } else {
    select_by_grid(stream, segments, k, scores, keep, indices, counts, workspace);
  }
}

#define FRCNN_INSTANTIATE(T)                                                            \
  template size_t top_k_workspace<kBackend, T>(const Segments&, int64_t, TopKVersion);  \
  template void top_k_segments<kBackend, T>(Stream, const Segments&, int64_t, const T*, \
                                            const uint8_t*, int32_t*, int32_t*, void*,  \
                                            TopKVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
