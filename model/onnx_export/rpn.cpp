// The RPN, its anchors and the proposal layer: model/rpn.h, kernels/boxes/anchors.h and
// model/proposals.h as nodes.
#include "kernels/boxes/anchors.h"
#include "model/onnx_export/parts.h"

namespace frcnn::onnx_export {
namespace {

/// Anchors and strides for a map whose size the graph computes: in double, as the model's are.
void dynamic_anchors(Graph& g, const FasterRcnn& model, const Sizes& sizes, const Value& hidden,
                     RpnValues& out) {
  const AnchorConfig& config = model.config().anchors;
  g.enter("anchors");
  const Value map = g.slice("map", g.op("Shape", "shape", {hidden}), 0, 2, 4);
  Value stride;
  if (config.stride_rule == "nominal") {
    const auto [y, x] = model.backbone_spec().strides();
    stride = g.f64s({static_cast<double>(y), static_cast<double>(x)});
  } else {
    stride = g.op(
        "Div", "exact_stride",
        {g.cast("input_f64", sizes.padded, OnnxType::f64), g.cast("map_f64", map, OnnxType::f64)});
    if (config.stride_rule == "map") stride = g.op("Floor", "stride", {stride});
  }
  const auto positions = [&](const std::string& name, int64_t axis,
                             const std::vector<int64_t>& shape, const std::vector<double>& mask) {
    const Value length = g.pick(name + "/length", map, axis);
    const Value index =
        g.cast(name + "/index_f64", g.op("Range", name + "/index", {g.i64(0), length, g.i64(1)}),
               OnnxType::f64);
    const Value cell =
        g.op("Add", name + "/cell", {index, g.f64(config.centre == "cell" ? 0.5 : 0.0)});
    const Value at = g.op("Mul", name + "/pixels", {cell, g.pick(name + "/stride", stride, axis)});
    return g.op("Mul", name,
                {g.op("Reshape", name + "/column", {at, g.i64s(shape)}), g.f64s(mask)});
  };
  const Value centres = g.op("Add", "centres",
                             {positions("rows", 0, {-1, 1, 1, 1}, {0, 1, 0, 1}),
                              positions("columns", 1, {1, -1, 1, 1}, {1, 0, 1, 0})});
  check(config.unit == "pixels" || (config.unit == "stride" && config.stride_rule == "nominal"),
        "anchors.unit = \"{}\" cannot be exported for pictures of any size; give --height and "
        "--width",
        config.unit);
  const auto [nominal_y, nominal_x] = model.backbone_spec().strides();
  const std::vector<double> base = kernels::base_anchors(
      anchor_params(config, {0, static_cast<double>(nominal_y), static_cast<double>(nominal_x)}));
  const Value shapes =
      g.array("shapes", Tensor::from({static_cast<int64_t>(base.size()) / 4, 4}, base));
  const Value grid = g.cast("grid", g.op("Add", "grid_f64", {shapes, centres}), OnnxType::f32);
  out.anchors = g.op("Reshape", "anchors", {grid, g.i64s({-1, 4})});
  const Value roi_stride =
      config.stride_rule == "map"
          ? g.f64s({static_cast<double>(nominal_y), static_cast<double>(nominal_x)})
          : stride;
  const Value scale = g.op("Div", "roi_scale_yx", {g.f64(1), roi_stride});
  out.roi_scale =
      g.cast("roi_scale", g.rows("roi_scale_f64", scale, g.i64s({1, 0, 1, 0})), OnnxType::f32);
}

void fixed_anchors(Graph& g, const FasterRcnn& model, const FixedSizes& sizes, RpnValues& out) {
  g.enter("anchors");
  const auto [h, w] = sizes.map;
  out.anchors = g.array("anchors", model.anchors(h, w, sizes.padded[0], sizes.padded[1]));
  const auto [y, x] = model.roi_stride(h, w, sizes.padded[0], sizes.padded[1]);
  out.roi_scale = g.f32s({1 / x, 1 / y, 1 / x, 1 / y});
}

/// One logit per anchor.
Value objectness(Graph& g, const RpnConfig& rpn, const Value& logits) {
  if (rpn.objectness == "sigmoid") return g.pick("objectness", logits, 0, 1);
  return g.op("Sub", "objectness",
              {g.pick("object", logits, 1, 1), g.pick("background", logits, 0, 1)});
}

}  // namespace

RpnValues rpn(Graph& g, const FasterRcnn& model, const Sizes& sizes, const Value& map) {
  const RpnConfig& config = model.config().rpn;
  g.enter("rpn");
  const auto convolution = [&](const std::string& name, const Value& x, int64_t window) {
    const std::string full = "rpn." + name;
    const int64_t pad = window / 2;
    return g.op("Conv", name,
                {x, g.parameter(model.parameters(), full + ".weight"),
                 g.parameter(model.parameters(), full + ".bias")},
                {{"kernel_shape", std::vector<int64_t>{window, window}},
                 {"pads", std::vector<int64_t>{pad, pad, pad, pad}}});
  };
  // (1, A * columns, H, W) to (H * W * A, columns), the order of the anchors.
  const auto rows = [&](const std::string& name, const Value& x, int64_t columns) {
    const Value last = g.op("Transpose", name + "_channels_last", {x},
                            {{"perm", std::vector<int64_t>{0, 2, 3, 1}}});
    return g.op("Reshape", name, {last, g.i64s({-1, columns})});
  };
  const Value hidden = g.op("Relu", "relu", {convolution("conv", map, config.window)});
  RpnValues out;
  out.logits =
      rows("logits", convolution("cls", hidden, 1), config.objectness == "softmax" ? 2 : 1);
  out.deltas = rows("deltas", convolution("box", hidden, 1), 4);
  if (sizes.fixed)
    fixed_anchors(g, model, *sizes.fixed, out);
  else
    dynamic_anchors(g, model, sizes, hidden, out);
  return out;
}

Value proposals(Graph& g, const RpnConfig& rpn, const RpnValues& values, const Limits& limits) {
  g.enter("proposals");
  Value scores = objectness(g, rpn, values.logits);
  Value boxes = decode(g, values.deltas, values.anchors, {0, 0, 0, 0}, {1, 1, 1, 1}, limits.corner);
  Value large = large_enough(g, boxes, limits.proposal_side);
  if (rpn.size_filter == "before") {
    const Value chosen = g.where_true("large", large);
    boxes = g.rows("large_boxes", boxes, chosen);
    scores = g.rows("large_scores", scores, chosen);
    boxes = g.rows("best_boxes", boxes, g.best("best", scores, rpn.test.pre_nms));
  } else {
    const Value order = g.best("best", scores, rpn.test.pre_nms);
    boxes = g.rows("best_boxes", boxes, order);
    boxes = g.rows("large_boxes", boxes, g.where_true("large", g.rows("best_large", large, order)));
  }
  const Value ranks =
      g.op("Unsqueeze", "ranks_of_class", {g.ranks("ranks", boxes), g.i64s({0, 1})});
  const Value kept = suppress(g, boxes, ranks, rpn.test.post_nms, rpn.test.nms_iou, std::nullopt);
  return g.rows("proposals", boxes, kept);
}

}  // namespace frcnn::onnx_export
