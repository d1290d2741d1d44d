// Compiled without contraction of a * b + c (kernels/CMakeLists.txt): equal overlaps then compare
// equal on every machine, and the same as in a reference that rounds each operation.
#include "kernels/boxes/iou_match.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/launch/parallel.h"
#include "kernels/launch/simd.h"

namespace frcnn::kernels::cpu {
namespace {

constexpr int64_t kTile = 512;           // boxes of one tile: all its arrays fit the first cache
constexpr int64_t kPartPairs = 1 << 17;  // pairs below which a thread is not worth its start

constexpr int64_t kLanes = 16;  // inner loops of this length vectorise on every machine

/// A tile of boxes as separate coordinate arrays, and what has been found about them.
template <typename T>
struct Tile {
  using Int = typename Simd<T, 1>::Int;
  alignas(64) T x1[kTile], y1[kTile], x2[kTile], y2[kTile], area[kTile];
  alignas(64) T best[kTile];
  alignas(64) Int index[kTile];
  int64_t end;  // count rounded up to whole inner loops

  /// Skipped boxes and the rest up to `end` become empty boxes, with IoU 0.
  void load(const T* boxes, const uint8_t* skip, int64_t count) {
    end = (count + kLanes - 1) / kLanes * kLanes;
    for (int64_t i = 0; i < end; ++i) {
      const bool used = i < count && !(skip && skip[i]);
      x1[i] = used ? boxes[4 * i] : std::numeric_limits<T>::max();
      y1[i] = used ? boxes[4 * i + 1] : std::numeric_limits<T>::max();
      x2[i] = used ? boxes[4 * i + 2] : std::numeric_limits<T>::lowest();
      y2[i] = used ? boxes[4 * i + 3] : std::numeric_limits<T>::lowest();
      area[i] = used ? (x2[i] - x1[i]) * (y2[i] - y1[i]) : T(0);
      best[i] = 0;
      index[i] = 0;
    }
  }
};

template <typename T>
struct Object {
  T x1, y1, x2, y2, area;
  explicit Object(const T* b)
      : x1(b[0]), y1(b[1]), x2(b[2]), y2(b[3]), area((x2 - x1) * (y2 - y1)) {}
};

/// IoU of box i of the tile with an object. The only place that computes it.
template <typename T>
FRCNN_INLINE T overlap(const Tile<T>& tile, int64_t i, const Object<T>& object) {
  const T w = std::max(T(0), std::min(tile.x2[i], object.x2) - std::max(tile.x1[i], object.x1));
  const T h = std::max(T(0), std::min(tile.y2[i], object.y2) - std::max(tile.y1[i], object.y1));
  const T inter = w * h, both = tile.area[i] + object.area - inter;
  return inter / (inter > 0 ? both : T(1));  // a select, no branch: loops stay vectors
}

/// Best object of every box of the tile; raises object_best (unless nullptr) to what the tile has.
template <typename T>
FRCNN_SIMD void tile_best(Tile<T>& tile, int64_t objects, const T* truth, T* object_best) {
  for (int64_t g = 0; g < objects; ++g) {
    const Object<T> object(truth + 4 * g);
    const auto number = static_cast<typename Tile<T>::Int>(g);
    T most[kLanes] = {};
    for (int64_t first = 0; first < tile.end; first += kLanes)
      for (int64_t k = 0; k < kLanes; ++k) {
        const int64_t i = first + k;
        const T iou = overlap(tile, i, object), best = tile.best[i];
        tile.index[i] = iou > best ? number : tile.index[i];
        tile.best[i] = iou > best ? iou : best;
        most[k] = iou > most[k] ? iou : most[k];
      }
    if (object_best)
      object_best[g] = std::max(object_best[g], *std::max_element(most, most + kLanes));
  }
}

/// index[i] = -1 for the boxes of the tile whose IoU with the object is exactly `value`.
template <typename T>
FRCNN_SIMD void tile_equal(Tile<T>& tile, const T* truth, T value) {
  const Object<T> object(truth);
  for (int64_t i = 0; i < tile.end; ++i)
    tile.index[i] = overlap(tile, i, object) == value ? -1 : tile.index[i];
}

/// Calls body(first box, count, tile) for each tile of [begin, end).
template <typename T, typename Body>
void for_tiles(int64_t begin, int64_t end, const T* boxes, const uint8_t* skip, const Body& body) {
  Tile<T> tile;
  for (int64_t first = begin; first < end; first += kTile) {
    const int64_t count = std::min(kTile, end - first);
    tile.load(boxes + 4 * first, skip ? skip + first : nullptr, count);
    body(first, count, tile);
  }
}

/// Boxes of one part of the work.
int64_t grain(int64_t objects) {
  return std::max<int64_t>(kTile, kPartPairs / std::max<int64_t>(1, objects));
}

}  // namespace

template <typename T>
void iou_best(int64_t count, int64_t objects, const T* boxes, const T* truth, const uint8_t* skip,
              T* best_iou, int32_t* best_index, T* object_best) {
  const int64_t parts =
      std::max<int64_t>(1, std::min<int64_t>(num_threads(), count / grain(objects)));
  std::vector<T> object_parts(object_best ? static_cast<size_t>(parts * objects) : 0, T(0));
  parallel_for(parts, 1, [&](int64_t part_begin, int64_t part_end) {
    for (int64_t part = part_begin; part < part_end; ++part)
      for_tiles(count * part / parts, count * (part + 1) / parts, boxes, skip,
                [&](int64_t first, int64_t n, Tile<T>& tile) {
                  tile_best(tile, objects, truth,
                            object_best ? object_parts.data() + part * objects : nullptr);
                  for (int64_t i = 0; i < n; ++i) {
                    const bool skipped = skip && skip[first + i];
                    best_iou[first + i] = skipped ? T(-1) : tile.best[i];
                    best_index[first + i] =
                        skipped || !objects ? -1 : static_cast<int32_t>(tile.index[i]);
                  }
                });
  });
  if (!object_best) return;
  for (int64_t g = 0; g < objects; ++g) {  // a maximum: the same for any number of parts
    object_best[g] = 0;
    for (int64_t part = 0; part < parts; ++part)
      object_best[g] =
          std::max(object_best[g], object_parts[static_cast<size_t>(part * objects + g)]);
  }
}

template <typename T>
void match_labels(const MatchParams& params, int64_t count, int64_t objects, const T* boxes,
                  const T* truth, const uint8_t* skip, const T* best_iou, const T* object_best,
                  int32_t* labels) {
  const T positive = static_cast<T>(params.positive), negative = static_cast<T>(params.negative);
  parallel_for(count, grain(objects), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      labels[i] = skip && skip[i]           ? -1
                  : best_iou[i] >= positive ? 1
                  : best_iou[i] < negative  ? 0
                                            : -1;
    if (!params.match_best || objects == 0) return;
    for_tiles(begin, end, boxes, skip, [&](int64_t first, int64_t n, Tile<T>& tile) {
      // Tiles whose boxes all overlap less than an object's best need no second look at it.
      const T most = *std::max_element(best_iou + first, best_iou + first + n);
      for (int64_t g = 0; g < objects; ++g)
        if (object_best[g] > 0 && object_best[g] <= most)
          tile_equal(tile, truth + 4 * g, object_best[g]);
      for (int64_t i = 0; i < n; ++i)
        if (tile.index[i] < 0) labels[first + i] = 1;
    });
  });
}

#define FRCNN_INSTANTIATE(T)                                                                    \
  template void iou_best<T>(int64_t, int64_t, const T*, const T*, const uint8_t*, T*, int32_t*, \
                            T*);                                                                \
  template void match_labels<T>(const MatchParams&, int64_t, int64_t, const T*, const T*,       \
                                const uint8_t*, const T*, const T*, int32_t*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
