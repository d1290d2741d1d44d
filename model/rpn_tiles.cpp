#include "model/rpn_tiles.h"

#include <algorithm>

#include "engine/dispatch.h"
#include "kernels/boxes/rows.h"
#include "kernels/elementwise/map_tiles.h"

namespace frcnn {
namespace {

namespace gpu = kernels::gpu;

}  // namespace

RpnTiles rpn_tiles(const Tensor& labels, const Tensor& deltas, int64_t images,
                   int64_t anchors_per_cell) {
  const int64_t count = labels.dim(0) / anchors_per_cell, per_image = count / images;
  const auto given = labels.span<int32_t>();
  std::vector<int32_t> cells, places(static_cast<size_t>(count), -1);
  RpnTiles tiles;
  for (int64_t n = 0; n < images; ++n) {
    const size_t before = cells.size();
    for (int64_t cell = n * per_image; cell < (n + 1) * per_image; ++cell) {
      const auto own = given.subspan(static_cast<size_t>(cell * anchors_per_cell),
                                     static_cast<size_t>(anchors_per_cell));
      if (std::ranges::none_of(own, [](int32_t label) { return label >= 0; })) continue;
      places[static_cast<size_t>(cell)] = static_cast<int32_t>(cells.size());
      cells.push_back(static_cast<int32_t>(cell));
    }
    if (cells.size() == before) cells.push_back(-1);
    tiles.rows.push_back(static_cast<int64_t>(cells.size() - before) * anchors_per_cell);
  }
  const auto rows = static_cast<int64_t>(cells.size()) * anchors_per_cell;
  tiles.labels = Tensor::empty({rows}, DType::i32);
  tiles.deltas = Tensor::zeros({rows, 4}, deltas.dtype());
  auto* label = tiles.labels.data<int32_t>();
  with_float(deltas.dtype(), "rpn_tiles", [&](auto t) {
    using T = decltype(t);
    T* to = tiles.deltas.data<T>();
    for (const int32_t cell : cells) {
      const int64_t first = cell * anchors_per_cell;
      if (cell < 0) {
        std::fill_n(label, anchors_per_cell, -1);
      } else {
        std::copy_n(labels.data<int32_t>() + first, anchors_per_cell, label);
        std::copy_n(deltas.data<T>() + 4 * first, 4 * anchors_per_cell, to);
      }
      label += anchors_per_cell;
      to += 4 * anchors_per_cell;
    }
  });
  tiles.cells = Tensor::from({static_cast<int64_t>(cells.size())}, cells);
  tiles.places = Tensor::from({count}, places);
  return tiles;
}

RpnTiles gpu_rpn_tiles(const GpuRpnTargets& targets, int64_t images, int64_t anchors_per_cell,
                       int64_t batch) {
  const Device device = targets.labels.device();
  const int64_t per_image = targets.labels.dim(0) / anchors_per_cell / images;
  const int64_t capacity = std::min(batch, per_image), tiles = images * capacity;
  const int64_t rows = tiles * anchors_per_cell;
  RpnTiles out{Tensor::empty({tiles}, DType::i32, device),
               Tensor::empty({images * per_image}, DType::i32, device),
               Tensor::empty({rows}, DType::i32, device),
               Tensor::empty({rows, 4}, targets.deltas.dtype(), device),
               std::vector<int64_t>(static_cast<size_t>(images), capacity * anchors_per_cell)};
  with_gpu(device, [&](auto on) {
    with_float(targets.deltas.dtype(), "rpn_tiles", [&](auto t) {
      using T = decltype(t);
      constexpr auto kBackend = decltype(on)::backend;
      const auto* cells = out.cells.data<int32_t>();
      gpu::sampled_cells<kBackend>(on.stream, images, per_image, anchors_per_cell, capacity,
                                   targets.labels.data<int32_t>(), out.cells.data<int32_t>(),
                                   out.places.data<int32_t>());
      // All anchors of a cell lie together: they are one row here.
      gpu::gather_rows<kBackend>(on.stream, tiles, anchors_per_cell, int32_t{-1}, cells,
                                 targets.labels.data<int32_t>(), out.labels.data<int32_t>());
      gpu::gather_rows<kBackend>(on.stream, tiles, 4 * anchors_per_cell, T(0), cells,
                                 targets.deltas.data<T>(), out.deltas.data<T>());
    });
  });
  return out;
}

}  // namespace frcnn
