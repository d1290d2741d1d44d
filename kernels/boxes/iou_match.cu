#include "kernels/boxes/iou_match.h"

#include <algorithm>
#include <limits>
#include <type_traits>

#include "kernels/boxes/iou.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int kObjectTile = 64;

/// Whole numbers that rise as overlaps (0 or above) do.
template <typename T>
using Bits = std::conditional_t<sizeof(T) == 8, unsigned long long, unsigned>;

__device__ unsigned bits_of(float overlap) {
  return __float_as_uint(overlap);
}
__device__ unsigned long long bits_of(double overlap) {
  return static_cast<unsigned long long>(__double_as_longlong(overlap));
}

/// One image's part of the batch.
template <typename T>
struct Image {
  const T *boxes, *truth;
  const uint8_t* skip;
  int64_t row;      // of its first box in (images, count)
  int64_t count;    // used boxes
  int64_t objects;  // used objects

  __device__ Image(const MatchBatch& batch, int64_t n, const T* all_boxes, const T* all_truth,
                   const uint8_t* all_skip)
      : boxes(all_boxes + (batch.shared_boxes ? 0 : n * batch.count * 4)),
        truth(all_truth + n * batch.objects * 4),
        skip(all_skip == nullptr ? nullptr : all_skip + n * batch.count),
        row(n * batch.count),
        count(used(batch.counts, n, batch.count)),
        objects(used(batch.object_counts, n, batch.objects)) {}

  __device__ static int64_t used(const int32_t* counts, int64_t n, int64_t room) {
    if (counts == nullptr || counts[n] > room) return room;
    return counts[n] < 0 ? 0 : counts[n];
  }
  __device__ bool counts_in(int64_t i) const { return i < count && !(skip && skip[i]); }
  /// Box i; an empty one, which overlaps nothing, where it does not count.
  __device__ AreaBox<T> box(int64_t i) const {
    if (counts_in(i)) return load_box(boxes + 4 * i);
    constexpr T kMost = std::numeric_limits<T>::max();
    return {kMost, kMost, -kMost, -kMost, T(0)};
  }
  __device__ void store(int64_t i, T best, int32_t index, T* best_iou, int32_t* best_index) const {
    const bool in = counts_in(i);
    best_iou[row + i] = in ? best : T(-1);
    best_index[row + i] = in && objects > 0 ? index : -1;
  }
};

template <typename T>
__global__ void zero_kernel(int64_t count, T* values) {
  for (int64_t i = grid_first(); i < count; i += grid_step()) values[i] = 0;
}

template <typename T>
__global__ void best_of_boxes_naive(const MatchBatch batch, const T* boxes, const T* truth,
                                    const uint8_t* skip, T* best_iou, int32_t* best_index) {
  const Image<T> image(batch, blockIdx.y, boxes, truth, skip);
  for (int64_t i = grid_first(); i < batch.count; i += grid_step()) {
    const AreaBox<T> box = image.box(i);
    T best = 0;
    int32_t index = 0;
    for (int64_t g = 0; g < image.objects; ++g) {
      const T iou = overlap(box, load_box(image.truth + 4 * g));
      if (iou > best) {
        best = iou;
        index = static_cast<int32_t>(g);
      }
    }
    image.store(i, best, index, best_iou, best_index);
  }
}

/// One block per object.
template <typename T>
__global__ void best_of_objects_naive(const MatchBatch batch, const T* boxes, const T* truth,
                                      const uint8_t* skip, T* object_best) {
  FRCNN_SHARED(Bits<T>, best, [1]);
  const Image<T> image(batch, blockIdx.y, boxes, truth, skip);
  const int64_t g = blockIdx.x;
  if (threadIdx.x == 0) best[0] = 0;
  __syncthreads();
  if (g < image.objects) {
    const AreaBox<T> object = load_box(image.truth + 4 * g);
    T most = 0;
    for (int64_t i = threadIdx.x; i < image.count; i += blockDim.x) {
      const T iou = overlap(image.box(i), object);
      if (iou > most) most = iou;
    }
    atomicMax(&best[0], bits_of(most));
  }
  __syncthreads();
  if (threadIdx.x == 0)
    reinterpret_cast<Bits<T>*>(object_best)[blockIdx.y * batch.objects + g] = best[0];
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    best_tiled(const MatchBatch batch, const T* boxes, const T* truth, const uint8_t* skip,
               T* best_iou, int32_t* best_index, T* object_best) {
  FRCNN_SHARED(AreaBox<T>, tile, [kObjectTile]);
  FRCNN_SHARED(Bits<T>, tile_best, [kObjectTile]);
  const Image<T> image(batch, blockIdx.y, boxes, truth, skip);
  const int64_t i = grid_first();
  const AreaBox<T> box = image.box(i);
  T best = 0;
  int32_t index = 0;
  for (int64_t first = 0; first < image.objects; first += kObjectTile) {
    const int count = static_cast<int>(std::min<int64_t>(kObjectTile, image.objects - first));
    const int t = static_cast<int>(threadIdx.x);
    if (t < count) {
      tile[t] = load_box(image.truth + 4 * (first + t));
      tile_best[t] = 0;
    }
    __syncthreads();
    for (int g = 0; g < count; ++g) {
      const T iou = overlap(box, tile[g]);
      if (iou > best) {
        best = iou;
        index = static_cast<int32_t>(first + g);
      }
      // Few lanes raise the maximum; the others need no atomic operation. An old value read here
      // costs an operation too many, never a wrong maximum.
      if (iou > T(0) && bits_of(iou) > tile_best[g]) atomicMax(&tile_best[g], bits_of(iou));
    }
    __syncthreads();
    if (object_best != nullptr && t < count && tile_best[t] != 0)
      atomicMax(reinterpret_cast<Bits<T>*>(object_best) + blockIdx.y * batch.objects + first + t,
                tile_best[t]);
  }
  if (i < batch.count) image.store(i, best, index, best_iou, best_index);
}

/// The limits in the type of the overlaps.
template <typename T>
struct Limits {
  T positive, negative;
  bool match_best;
};

template <typename T>
__device__ int32_t label_of(const Limits<T>& limits, bool in, T best) {
  if (!in) return -1;
  return best >= limits.positive ? 1 : best < limits.negative ? 0 : -1;
}

template <typename T>
__global__ void labels_naive(const Limits<T> limits, const MatchBatch batch, const T* boxes,
                             const T* truth, const uint8_t* skip, const T* best_iou,
                             const T* object_best, int32_t* labels) {
  const Image<T> image(batch, blockIdx.y, boxes, truth, skip);
  for (int64_t i = grid_first(); i < batch.count; i += grid_step()) {
    int32_t label = label_of(limits, image.counts_in(i), best_iou[image.row + i]);
    const AreaBox<T> box = image.box(i);
    for (int64_t g = 0; limits.match_best && g < image.objects; ++g) {
      const T most = object_best[blockIdx.y * batch.objects + g];
      if (most > T(0) && overlap(box, load_box(image.truth + 4 * g)) == most) label = 1;
    }
    labels[image.row + i] = label;
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    labels_tiled(const Limits<T> limits, const MatchBatch batch, const T* boxes, const T* truth,
                 const uint8_t* skip, const T* best_iou, const T* object_best, int32_t* labels) {
  FRCNN_SHARED(AreaBox<T>, tile, [kObjectTile]);
  FRCNN_SHARED(T, tile_best, [kObjectTile]);
  const Image<T> image(batch, blockIdx.y, boxes, truth, skip);
  const int64_t i = grid_first();
  const bool in = image.counts_in(i);
  const T own = in ? best_iou[image.row + i] : T(-1);
  int32_t label = label_of(limits, in, own);
  const AreaBox<T> box = image.box(i);
  for (int64_t first = 0; limits.match_best && first < image.objects; first += kObjectTile) {
    const int count = static_cast<int>(std::min<int64_t>(kObjectTile, image.objects - first));
    const int t = static_cast<int>(threadIdx.x);
    __syncthreads();
    if (t < count) {
      tile[t] = load_box(image.truth + 4 * (first + t));
      tile_best[t] = object_best[blockIdx.y * batch.objects + first + t];
    }
    __syncthreads();
    // A box overlaps no object more than its own best one: most objects fall out by one comparison.
    for (int g = 0; g < count; ++g)
      if (tile_best[g] > T(0) && tile_best[g] <= own && overlap(box, tile[g]) == tile_best[g])
        label = 1;
  }
  if (i < batch.count) labels[image.row + i] = label;
}

template <typename T>
__global__ void region_kernel(const RegionLabelParams params, const MatchBatch batch,
                              const T* best_iou, int32_t* labels) {
  const int64_t n = blockIdx.y, row = n * batch.count;
  const int64_t count = Image<T>::used(batch.counts, n, batch.count);
  const bool objects = Image<T>::used(batch.object_counts, n, batch.objects) > 0;
  for (int64_t i = grid_first(); i < batch.count; i += grid_step()) {
    const double iou = static_cast<double>(best_iou[row + i]);
    const bool foreground = objects && iou >= params.foreground;
    const bool background = iou < params.background_high && iou >= params.background_low;
    labels[row + i] = i >= count ? -1 : foreground ? 1 : background ? 0 : -1;
  }
}

Dim3 grid_of(const MatchBatch& batch) {
  return Dim3(static_cast<unsigned>(ceil_div(batch.count, kThreads)),
              static_cast<unsigned>(batch.images));
}

}  // namespace

template <Backend backend, typename T>
void iou_best(Stream stream, const MatchBatch& batch, const T* boxes, const T* truth,
              const uint8_t* skip, T* best_iou, int32_t* best_index, T* object_best,
              MatchVersion version) {
  if (version == MatchVersion::naive) {
    launch({"best_of_boxes_naive", grid_of(batch), kThreads, 0, stream}, best_of_boxes_naive<T>,
           batch, boxes, truth, skip, best_iou, best_index);
    if (object_best != nullptr)
      launch({"best_of_objects_naive",
              Dim3(static_cast<unsigned>(batch.objects), static_cast<unsigned>(batch.images)),
              kThreads, 0, stream},
             best_of_objects_naive<T>, batch, boxes, truth, skip, object_best);
    return;
  }
  const int64_t bests = batch.images * batch.objects;
  if (object_best != nullptr)
    launch({"zero_object_best", blocks_for(bests, kThreads), kThreads, 0, stream}, zero_kernel<T>,
           bests, object_best);
  launch({"best_tiled", grid_of(batch), kThreads, 0, stream}, best_tiled<T>, batch, boxes, truth,
         skip, best_iou, best_index, object_best);
}

template <Backend backend, typename T>
void match_labels(Stream stream, const MatchParams& params, const MatchBatch& batch, const T* boxes,
                  const T* truth, const uint8_t* skip, const T* best_iou, const T* object_best,
                  int32_t* labels, MatchVersion version) {
  const Limits<T> limits{static_cast<T>(params.positive), static_cast<T>(params.negative),
                         params.match_best};
  launch({"match_labels", grid_of(batch), kThreads, 0, stream},
         version == MatchVersion::naive ? labels_naive<T> : labels_tiled<T>, limits, batch, boxes,
         truth, skip, best_iou, object_best, labels);
}

template <Backend backend, typename T>
void region_labels(Stream stream, const RegionLabelParams& params, const MatchBatch& batch,
                   const T* best_iou, int32_t* labels) {
  launch({"region_labels", grid_of(batch), kThreads, 0, stream}, region_kernel<T>, params, batch,
         best_iou, labels);
}

#define FRCNN_INSTANTIATE(T)                                                                       \
  template void iou_best<kBackend, T>(Stream, const MatchBatch&, const T*, const T*,               \
                                      const uint8_t*, T*, int32_t*, T*, MatchVersion);             \
  template void match_labels<kBackend, T>(Stream, const MatchParams&, const MatchBatch&, const T*, \
                                          const T*, const uint8_t*, const T*, const T*, int32_t*,  \
                                          MatchVersion);                                           \
  template void region_labels<kBackend, T>(Stream, const RegionLabelParams&, const MatchBatch&,    \
                                           const T*, int32_t*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
