// Boxes of kernels/boxes as nodes: codec.h, nms.h.
#include <algorithm>

#include "kernels/boxes/codec.h"
#include "model/onnx_export/parts.h"

namespace frcnn::onnx_export {

Value decode(Graph& g, const Value& deltas, const Value& anchors, const std::vector<double>& mean,
             const std::vector<double>& stddev, const Value& corner) {
  // x and y, and widths and heights, go through the same nodes: the last axis has two elements.
  const Value first = g.slice("anchor/corner", anchors, -1, 0, 2);
  const Value side =
      g.op("Sub", "anchor/side", {g.slice("anchor/far_corner", anchors, -1, 2, 4), first});
  const Value half_side = g.op("Mul", "anchor/half_side", {side, g.f32(0.5)});
  const Value anchor_centre = g.op("Add", "anchor/centre", {first, half_side});

  const auto part = [&](const std::string& name, int64_t from) {
    const auto i = static_cast<size_t>(from);
    Value t = g.slice(name, deltas, -1, from, from + 2);
    if (stddev[i] != 1 || stddev[i + 1] != 1)
      t = g.op("Mul", name + "/times_std", {t, g.f32s({stddev[i], stddev[i + 1]})});
    if (mean[i] != 0 || mean[i + 1] != 0)
      t = g.op("Add", name + "/plus_mean", {t, g.f32s({mean[i], mean[i + 1]})});
    return t;
  };
  const Value shift = g.op("Mul", "shift/pixels", {part("shift", 0), side});
  const Value centre = g.op("Add", "centre", {shift, anchor_centre});
  const Value log_scale =
      g.op("Min", "growth/cut", {part("growth", 2), g.f32(kernels::kMaxLogScale)});
  const Value size = g.op("Mul", "size", {g.op("Exp", "growth/exp", {log_scale}), side});
  const Value half = g.op("Mul", "half_size", {size, g.f32(0.5)});

  const auto clipped = [&](const std::string& name, const char* op) {
    const Value at = g.op(op, name + "/unclipped", {centre, half});
    return g.op("Min", name, {g.op("Max", name + "/from_zero", {at, g.f32(0)}), corner});
  };
  return g.op("Concat", "boxes", {clipped("low", "Sub"), clipped("high", "Add")},
              {{"axis", int64_t{-1}}});
}

Value large_enough(Graph& g, const Value& boxes, const Value& least) {
  const Value side =
      g.op("Sub", "sides",
           {g.slice("sides/high", boxes, -1, 2, 4), g.slice("sides/low", boxes, -1, 0, 2)});
  // Not ReduceMin, of which ONNX Runtime makes two elements where there is no box at all.
  const Value enough = g.op("GreaterOrEqual", "sides/enough", {side, least});
  return g.op("And", "large_enough",
              {g.pick("sides/wide", enough, 0, -1), g.pick("sides/high_enough", enough, 1, -1)});
}

Value suppress(Graph& g, const Value& boxes, const Value& scores, int64_t most, double iou,
               std::optional<double> score) {
  std::vector<Value> inputs = {g.op("Unsqueeze", "nms/boxes", {boxes, g.i64s({0})}), scores,
                               g.i64(most), g.f32(float_limit(iou))};
  if (score) inputs.push_back(g.f32(*score));
  return g.pick("nms/kept", g.op("NonMaxSuppression", "nms", inputs), 2, 1);
}

}  // namespace frcnn::onnx_export
