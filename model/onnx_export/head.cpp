// The detection head and what becomes of its outputs: model/roi_head.h and model/detections.h as
// nodes.
#include <fmt/core.h>

#include "model/onnx_export/parts.h"

namespace frcnn::onnx_export {
namespace {

Value pool_regions(Graph& g, const RoiConfig& roi, const Value& map, const Value& proposals,
                   const Value& roi_scale) {
  // Proposals in cells of the map: the operators know one scale for both axes, the model two.
  const Value cells = g.op("Mul", "cells", {proposals, roi_scale});
  if (roi.layer == "roi_pool") {
    const Value regions = g.op("Pad", "regions", {cells, g.i64s({0, 1, 0, 0}), g.f32(0)});
    return g.op("MaxRoiPool", "pooled", {map, regions},
                {{"pooled_shape", std::vector<int64_t>{roi.pooled_height, roi.pooled_width}},
                 {"spatial_scale", 1.0}});
  }
  const Value image =
      g.op("Expand", "image_of_region", {g.i64s({0}), g.count("regions", proposals)});
  return g.op("RoiAlign", "pooled", {map, cells, image},
              {{"coordinate_transformation_mode",
                std::string(roi.layer == "roi_align" ? "half_pixel" : "output_half_pixel")},
               {"mode", std::string("avg")},
               {"output_height", int64_t{roi.pooled_height}},
               {"output_width", int64_t{roi.pooled_width}},
               {"sampling_ratio", int64_t{roi.sampling_ratio}},
               {"spatial_scale", 1.0}});
}

/// Entries (region, class) of a picture, flattened: one row each.
struct Entries {
  Value boxes, scores, labels;
};

/// All of them, labels left out.
Entries all_entries(Graph& g, const RoiConfig& roi, int64_t classes, const HeadValues& head,
                    const Value& proposals, const Limits& limits) {
  const Value probabilities =
      roi.class_loss == "sigmoid"
          ? g.op("Sigmoid", "probabilities", {head.logits})
          : g.op("Softmax", "probabilities", {head.logits}, {{"axis", int64_t{1}}});
  const Value of_classes = g.slice("of_classes", probabilities, 1, 1, classes + 1);
  const Value regions = g.op("Unsqueeze", "regions", {proposals, g.i64s({1})});  // (R, 1, 4)
  Value deltas = g.op("Reshape", "deltas",
                      {head.deltas, g.i64s({-1, roi.class_agnostic ? 1 : classes + 1, 4})});
  if (!roi.class_agnostic) deltas = g.slice("deltas_of_classes", deltas, 1, 1, classes + 1);
  Value boxes = decode(g, deltas, regions, roi.box_mean, roi.box_std, limits.corner);
  if (roi.class_agnostic)
    boxes = g.op("Expand", "boxes_of_classes", {boxes, g.i64s({1, classes, 1})});
  return {g.op("Reshape", "flat_boxes", {boxes, g.i64s({-1, 4})}),
          g.op("Reshape", "flat_scores", {of_classes, g.i64s({-1})}),
          {}};
}

/// Those with a score above the threshold and long enough sides, best first.
Entries candidates(Graph& g, const TestConfig& test, int64_t classes, const Entries& all,
                   const Limits& limits) {
  const Value sure = g.op("Greater", "sure", {all.scores, g.f32(float_limit(test.score))});
  const Value passed =
      g.op("And", "passed", {sure, large_enough(g, all.boxes, limits.detection_side)});
  const Value chosen = g.where_true("chosen", passed);
  const Value scores = g.rows("chosen_scores", all.scores, chosen);
  const Value order = g.best("order", scores, std::nullopt);
  const Value sorted = g.rows("sorted", chosen, order);
  return {g.rows("sorted_boxes", all.boxes, sorted), g.rows("sorted_scores", all.scores, sorted),
          g.op("Mod", "sorted_labels", {sorted, g.i64(classes)})};
}

}  // namespace

HeadValues head(Graph& g, const FasterRcnn& model, const Value& map, const Value& proposals,
                const Value& roi_scale) {
  const RoiConfig& roi = model.config().roi;
  g.enter("head");
  Value x = pool_regions(g, roi, map, proposals, roi_scale);
  x = g.op("Flatten", "features", {x}, {{"axis", int64_t{1}}});
  const auto dense = [&](const std::string& name, const Value& input) {
    return g.op("Gemm", name,
                {input, g.parameter(model.parameters(), "head." + name + ".weight"),
                 g.parameter(model.parameters(), "head." + name + ".bias")},
                {{"transB", int64_t{1}}});
  };
  for (size_t i = 0; i < roi.hidden.size(); ++i) {
    const std::string name = fmt::format("fc{}", 6 + i);
    x = g.op("Relu", fmt::format("{}/relu", name), {dense(name, x)});
  }
  return {dense("cls", x), dense("box", x)};
}

void detections(Graph& g, const FasterRcnn& model, const HeadValues& head, const Value& proposals,
                const Limits& limits) {
  const TestConfig& test = model.config().test;
  const int64_t classes = model.classes();
  g.enter("detections");
  const Entries all = all_entries(g, model.config().roi, classes, head, proposals, limits);
  const Entries found = candidates(g, test, classes, all, limits);

  // For the suppression a score per class: the rank among all for the entry's own, 0 for others.
  std::vector<int64_t> numbers;
  for (int64_t k = 0; k < classes; ++k) numbers.push_back(k);
  const Value all_labels = g.array("classes", Tensor::from({classes, 1}, numbers));
  const Value own = g.op("Equal", "own_class", {found.labels, all_labels});
  const Value ranks =
      g.op("Where", "ranks_of_classes", {own, g.ranks("ranks", found.scores), g.f32(0)});
  const Value kept = suppress(g, found.boxes, g.op("Unsqueeze", "nms/scores", {ranks, g.i64s({0})}),
                              test.max_detections, test.nms_iou, 0.5);

  // What is kept comes class by class. Positions of better entries are smaller.
  const Value falling = g.op("Neg", "kept_falling", {kept});
  const Value best = g.rows("best", kept, g.best("best_of_kept", falling, test.max_detections));
  const Value best_boxes = g.rows("best_boxes", found.boxes, best);
  g.enter("results");
  g.result("boxes", "Div", {best_boxes, limits.box_factor});
  g.result("scores", "Gather", {found.scores, best});
  g.result("labels", "Gather", {found.labels, best});
}

}  // namespace frcnn::onnx_export
