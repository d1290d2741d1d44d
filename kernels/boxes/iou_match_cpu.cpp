#include "kernels/boxes/iou_match.h"

#include <algorithm>
#include <array>
#include <vector>

#include "kernels/launch/parallel.h"

namespace frcnn::kernels::cpu {
namespace {

constexpr int64_t kTile = 256;    // boxes of one tile: their coordinates stay in the first cache
constexpr int64_t kGrain = 2048;  // boxes below which a thread is not worth its start

/// Coordinates of a tile of boxes as separate arrays, so that the loop over boxes vectorises.
template <typename T>
struct Tile {
  std::array<T, kTile> x1, y1, x2, y2, area;

  void load(const T* boxes, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      const auto k = static_cast<size_t>(i);
      x1[k] = boxes[4 * i];
      y1[k] = boxes[4 * i + 1];
      x2[k] = boxes[4 * i + 2];
      y2[k] = boxes[4 * i + 3];
      area[k] = (x2[k] - x1[k]) * (y2[k] - y1[k]);
    }
  }

  /// IoU of every box of the tile with one object. The one place that computes it, so that equal
  /// overlaps compare equal.
  void overlaps(const T* object, int64_t count, std::array<T, kTile>& iou) const {
    const T ox1 = object[0], oy1 = object[1], ox2 = object[2], oy2 = object[3];
    const T object_area = (ox2 - ox1) * (oy2 - oy1);
    for (int64_t i = 0; i < count; ++i) {
      const auto k = static_cast<size_t>(i);
      const T w = std::max(T(0), std::min(x2[k], ox2) - std::max(x1[k], ox1));
      const T h = std::max(T(0), std::min(y2[k], oy2) - std::max(y1[k], oy1));
      const T inter = w * h;
      iou[k] = inter > 0 ? inter / (area[k] + object_area - inter) : T(0);
    }
  }
};

/// Calls body(first box, count, tile) for each tile of [begin, end).
template <typename T, typename Body>
void for_tiles(int64_t begin, int64_t end, const T* boxes, const Body& body) {
  Tile<T> tile;
  for (int64_t first = begin; first < end; first += kTile) {
    const int64_t count = std::min(kTile, end - first);
    tile.load(boxes + 4 * first, count);
    body(first, count, tile);
  }
}

}  // namespace

template <typename T>
void iou_best(int64_t count, int64_t objects, const T* boxes, const T* truth, const uint8_t* skip,
              T* best_iou, int32_t* best_index, T* object_best) {
  const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(num_threads(), count / kGrain));
  std::vector<T> object_parts(object_best ? static_cast<size_t>(parts * objects) : 0, T(0));
  parallel_for(parts, 1, [&](int64_t part_begin, int64_t part_end) {
    std::array<T, kTile> iou;
    for (int64_t part = part_begin; part < part_end; ++part)
      for_tiles(count * part / parts, count * (part + 1) / parts, boxes,
                [&](int64_t first, int64_t n, const Tile<T>& tile) {
                  std::fill(best_iou + first, best_iou + first + n, objects ? T(0) : T(-1));
                  std::fill(best_index + first, best_index + first + n, objects ? 0 : -1);
                  for (int64_t g = 0; g < objects; ++g) {
                    tile.overlaps(truth + 4 * g, n, iou);
                    T* best = best_iou + first;
                    int32_t* index = best_index + first;
                    const auto object = static_cast<int32_t>(g);
                    for (int64_t i = 0; i < n; ++i) {
                      const T value = iou[static_cast<size_t>(i)];
                      index[i] = value > best[i] ? object : index[i];
                      best[i] = value > best[i] ? value : best[i];
                    }
                    if (!object_best) continue;
                    T most = 0;
                    for (int64_t i = 0; i < n; ++i)
                      if (!skip || !skip[first + i])
                        most = std::max(most, iou[static_cast<size_t>(i)]);
                    T& place = object_parts[static_cast<size_t>(part * objects + g)];
                    place = std::max(place, most);
                  }
                  if (!objects) std::fill(best_iou + first, best_iou + first + n, T(0));
                  if (skip)
                    for (int64_t i = first; i < first + n; ++i)
                      if (skip[i]) best_iou[i] = T(-1), best_index[i] = -1;
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
  parallel_for(count, kGrain, [&](int64_t begin, int64_t end) {
    std::array<T, kTile> iou;
    for_tiles(begin, end, boxes, [&](int64_t first, int64_t n, const Tile<T>& tile) {
      for (int64_t i = first; i < first + n; ++i) {
        labels[i] = best_iou[i] >= positive ? 1 : best_iou[i] < negative ? 0 : -1;
        if (skip && skip[i]) labels[i] = -1;
      }
      if (!params.match_best) return;
      T most = 0;  // tiles far from every object need no second look
      for (int64_t i = first; i < first + n; ++i) most = std::max(most, best_iou[i]);
      for (int64_t g = 0; g < objects; ++g) {
        if (!(object_best[g] > 0) || object_best[g] > most) continue;
        tile.overlaps(truth + 4 * g, n, iou);
        for (int64_t i = 0; i < n; ++i)
          if (iou[static_cast<size_t>(i)] == object_best[g] && !(skip && skip[first + i]))
            labels[first + i] = 1;
      }
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
