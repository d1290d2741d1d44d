#include "engine/ops/boxes.h"

#include "engine/dispatch.h"
#include "engine/tape.h"
#include "kernels/boxes/proposal_decode.h"
#include "kernels/boxes/roi_targets.h"

namespace frcnn {
namespace {

template <typename T>
const kernels::ImageLimits<T>* limits_of(const Tensor& limits) {
  static_assert(sizeof(kernels::ImageLimits<T>) == 4 * sizeof(T));
  return reinterpret_cast<const kernels::ImageLimits<T>*>(limits.data<T>());
}

}  // namespace

Tensor proposal_decode(const Tensor& deltas, const Tensor& anchors, const Tensor& limits,
                       const Tensor& sources, const Tensor& constants) {
  const int64_t rows = constants.dim(0), count = anchors.dim(0), images = limits.dim(0);
  check(deltas.shape() == Shape{images * count, 4} && anchors.shape() == Shape{count, 4} &&
            limits.shape() == Shape{images, 4} && constants.shape() == Shape{rows, 5} &&
            sources.numel() == rows && sources.dtype() == DType::i32,
        "[proposal_decode] expected deltas (N n, 4), anchors (n, 4), limits (N, 4), sources (R) of "
        "type i32 and constants (R, 5), got {}, {}, {}, {} {} and {}",
        deltas.shape().string(), anchors.shape().string(), limits.shape().string(),
        name_of(sources.dtype()), sources.shape().string(), constants.shape().string());
  Tensor rois = empty_like(constants);
  with_float(deltas.dtype(), "proposal_decode", [&](auto t) {
    using T = decltype(t);
    FRCNN_CALL(deltas.device(), proposal_decode, images, count, rows, anchors.data<T>(),
               deltas.data<T>(), limits_of<T>(limits), sources.data<int32_t>(), constants.data<T>(),
               rois.data<T>());
  });
  if (Tape::recording({&deltas}))
    Tape::record("proposal_decode", {deltas}, {rois}, [=](BackwardContext& ctx) {
      ctx.write_input(0, [&](Tensor& ddeltas) {
        with_float(ddeltas.dtype(), "proposal_decode", [&](auto t) {
          using T = decltype(t);
          FRCNN_CALL(ddeltas.device(), proposal_decode_backward, images, count, rows,
                     anchors.data<T>(), deltas.data<T>(), limits_of<T>(limits),
                     sources.data<int32_t>(), ctx.grad_output().data<T>(), ddeltas.data<T>());
        });
      });
    });
  return rois;
}

Tensor with_moving_targets(const Tensor& deltas, const Tensor& targets, const Tensor& rois,
                           const kernels::BoxCodecParams& codec) {
  const int64_t rows = rois.dim(0), groups = deltas.dim(1) / 4;
  check(deltas.shape() == Shape{rows, 4 * groups} && targets.shape() == Shape{rows, 4} &&
            rois.shape() == Shape{rows, 5},
        "[with_moving_targets] expected deltas (R, 4 G), targets (R, 4) and rois (R, 5), got {}, "
        "{} and {}",
        deltas.shape().string(), targets.shape().string(), rois.shape().string());
  Tensor out = deltas.clone();
  if (Tape::recording({&deltas, &rois}))
    Tape::record("with_moving_targets", {deltas, rois}, {out}, [=](BackwardContext& ctx) {
      const Tensor gradient = ctx.grad_output();
      ctx.write_input(1, [&](Tensor& drois) {
        with_float(drois.dtype(), "with_moving_targets", [&](auto t) {
          using T = decltype(t);
          FRCNN_CALL(drois.device(), roi_targets_backward, codec, rows, groups, rois.data<T>(),
                     targets.data<T>(), gradient.data<T>(), drois.data<T>());
        });
      });
      ctx.give_input(0, gradient);
    });
  return out;
}

}  // namespace frcnn
