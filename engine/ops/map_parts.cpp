// Maps put together along the channels, padded, and cut into windows.
#include "engine/dispatch.h"
#include "engine/ops/elementwise.h"
#include "engine/tape.h"
#include "kernels/elementwise/copy_map.h"
#include "kernels/elementwise/map_tiles.h"

namespace frcnn {
namespace {

using kernels::ChannelRun;
using kernels::MapPadding;

void copy_run(const Tensor& from, Tensor& to, const ChannelRun& run) {
  with_float(from.dtype(), "concat_channels", [&](auto t) {
    using T = decltype(t);
    FRCNN_CALL(from.device(), copy_channels, from.map_layout(), to.map_layout(), run,
               from.data<T>(), to.data<T>());
  });
}

}  // namespace

Tensor concat_channels(const std::vector<Tensor>& maps) {
  check(!maps.empty(), "[concat_channels] expected at least one map");
  const Tensor& first = maps[0];
  int64_t channels = 0;
  bool last = true, equal = true, record = false;  // channels last: NHWC
  for (const Tensor& map : maps) {
    check(
        map.rank() == 4 && map.dtype() == first.dtype() && map.device() == first.device() &&
            map.dim(0) == first.dim(0) && map.dim(2) == first.dim(2) && map.dim(3) == first.dim(3),
        "[concat_channels] expected maps (N, C, H, W) of one type and device that differ in "
        "their channels only, got {} {} and {} {}",
        name_of(first.dtype()), first.shape().string(), name_of(map.dtype()), map.shape().string());
    channels += map.dim(1);
    last &= map.channel_block() == map.dim(1);
    equal &= map.channel_block() == first.channel_block();
    record |= Tape::recording({&map});
  }
  if (maps.size() == 1) return first;
  // On the CPU equal blocks stay: two maps of 16 channels in blocks of 16 are NHWC and blocked, and
  // the convolutions there prefer blocks.
  const bool nhwc = last && (first.device().is_gpu() || !equal);
  Tensor y = Tensor::empty({first.dim(0), channels, first.dim(2), first.dim(3)}, first.dtype(),
                           first.device(), nhwc ? channels : first.channel_block());
  int64_t at = 0;
  for (const Tensor& map : maps) {
    copy_run(map, y, {0, at, map.dim(1)});
    at += map.dim(1);
  }
  if (!record) return y;
  std::vector<ChannelRun> runs;
  for (const Tensor& map : maps)
    runs.push_back({runs.empty() ? 0 : runs.back().from + runs.back().count, 0, map.dim(1)});
  Tape::record("concat_channels", maps, {y}, [runs](BackwardContext& ctx) {
    for (size_t i = 0; i < runs.size(); ++i)
      ctx.write_input(i, [&](Tensor& dx) { copy_run(ctx.grad_output(), dx, runs[i]); });
  });
  return y;
}

Tensor pad2d(const Tensor& x, int64_t top, int64_t left, int64_t bottom, int64_t right,
             double value) {
  check(top >= 0 && left >= 0 && bottom >= 0 && right >= 0,
        "[pad2d] expected no negative padding, got {} rows above, {} columns left, {} rows below, "
        "{} columns right",
        top, left, bottom, right);
  if (top + left + bottom + right == 0) return x;
  const MapPadding padding{top, left, bottom, right};
  const kernels::MapLayout in = x.map_layout(), out = padding.padded(in);
  Tensor y = Tensor::empty({out.n, out.c, out.h, out.w}, x.dtype(), x.device(), out.block);
  with_float(x.dtype(), "pad2d", [&](auto t) {
    using T = decltype(t);
    FRCNN_CALL(x.device(), pad_map, in, padding, value, x.data<T>(), y.data<T>());
  });
  if (Tape::recording({&x}))
    Tape::record("pad2d", {x}, {y}, [in, padding](BackwardContext& ctx) {
      ctx.write_input(0, [&](Tensor& dx) {
        with_float(dx.dtype(), "pad2d", [&](auto t) {
          using T = decltype(t);
          FRCNN_CALL(dx.device(), crop_map, in, padding, ctx.grad_output().data<T>(), dx.data<T>());
        });
      });
    });
  return y;
}

Tensor gather_tiles(const Tensor& x, int window, const Tensor& cells, const Tensor& places) {
  check(x.rank() == 4 && cells.dtype() == DType::i32 && places.dtype() == DType::i32 &&
            cells.device() == x.device() && places.device() == x.device() &&
            places.numel() == x.dim(0) * x.dim(2) * x.dim(3),
        "[gather_tiles] expected x (N, C, H, W), cells (tiles) and places (N H W) of type i32 on "
        "one device, got {}, {} {} and {} {}",
        x.shape().string(), name_of(cells.dtype()), cells.shape().string(), name_of(places.dtype()),
        places.shape().string());
  const kernels::MapLayout map = x.map_layout();
  const int64_t tiles = cells.numel();
  Tensor y = Tensor::empty({tiles, map.c, window, window}, x.dtype(), x.device(), map.block);
  with_float(x.dtype(), "gather_tiles", [&](auto t) {
    using T = decltype(t);
    FRCNN_CALL(x.device(), gather_tiles, map, window, tiles, cells.data<int32_t>(), x.data<T>(),
               y.data<T>());
  });
  if (Tape::recording({&x}))
    Tape::record("gather_tiles", {x}, {y}, [map, window, places](BackwardContext& ctx) {
      ctx.write_input(0, [&](Tensor& dx) {
        with_float(dx.dtype(), "gather_tiles", [&](auto t) {
          using T = decltype(t);
          FRCNN_CALL(dx.device(), scatter_tiles, map, window, places.data<int32_t>(),
                     ctx.grad_output().data<T>(), dx.data<T>());
        });
      });
    });
  return y;
}

}  // namespace frcnn
