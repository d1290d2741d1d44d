#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "model/export_onnx.h"
#include "model/onnx_export/graph.h"

namespace frcnn::onnx_export {

/// Sizes that are known when the graph is made.
struct FixedSizes {
  std::array<int64_t, 2> picture = {}, resized = {}, padded = {};  ///< height, width
  std::array<int64_t, 2> map = {};                                 ///< of the RPN
};

/// Sizes of the picture and what becomes of it. Pictures of one size: `fixed` alone. Otherwise
/// values of the graph, each of two elements, height and width.
struct Sizes {
  std::optional<FixedSizes> fixed;
  Value picture, resized, padded;  ///< i64
  Value factor;                    ///< f64 resized / picture
};

/// What later parts need to know of the sizes: constants, or computed in the graph.
struct Limits {
  Value corner;          ///< f32 (2) width, height of the resized picture: boxes are clipped to it
  Value proposal_side;   ///< f32 (2) least width, height of a proposal
  Value detection_side;  ///< f32 (2) least width, height of a detection
  Value box_factor;      ///< f32 (4) input pixels per picture pixel, x, y, x, y
};

/// What the RPN gives, and where its anchors lie.
struct RpnValues {
  Value logits;     ///< (H W A, 2 or 1)
  Value deltas;     ///< (H W A, 4)
  Value anchors;    ///< (H W A, 4)
  Value roi_scale;  ///< f32 (4) map cells per input pixel, x, y, x, y
};

/// pictures.cpp: the sizes of the graph's input `image`; the network's input f32 (1, 3, padded).
FixedSizes fixed_sizes(const FasterRcnn& model, int64_t height, int64_t width);
Sizes size_values(Graph& g, const PreprocessConfig& p, const std::optional<FixedSizes>& fixed);
Value network_input(Graph& g, const PreprocessConfig& p, const Sizes& sizes);
Limits limits(Graph& g, const ModelConfig& config, const Sizes& sizes);

/// backbone.cpp: the network's input to the feature map.
Value backbone(Graph& g, const FasterRcnn& model, Value input);
/// An imported network from `input` to its output; its parameters are "<prefix><node>.weight", ...
Value imported_network(Graph& g, const Network& network, const Parameters& parameters,
                       const std::string& prefix, const Value& input);

/// rpn.cpp: the feature map to scores, box offsets and anchors; these to proposals (R, 4) in pixels
/// of the network's input, best first.
RpnValues rpn(Graph& g, const FasterRcnn& model, const Sizes& sizes, const Value& map);
Value proposals(Graph& g, const RpnConfig& rpn, const RpnValues& values, const Limits& limits);

/// boxes.cpp: boxes (..., 4) from offsets and anchors of shapes that broadcast, clipped to
/// `corner`; whether both sides of each are at least `least`.
Value decode(Graph& g, const Value& deltas, const Value& anchors, const std::vector<double>& mean,
             const std::vector<double>& stddev, const Value& corner);
Value large_enough(Graph& g, const Value& boxes, const Value& least);
/// NonMaxSuppression of boxes (n, 4) with scores (1, K, n): positions of what is kept, class by
/// class, best first. `score`: only scores above it; nullopt: all.
Value suppress(Graph& g, const Value& boxes, const Value& scores, int64_t most, double iou,
               std::optional<double> score);

/// head.cpp: scores and offsets of proposals; these to the graph's outputs.
struct HeadValues {
  Value logits;  ///< (R, K + 1)
  Value deltas;  ///< (R, 4 (K + 1)) or (R, 4)
};
HeadValues head(Graph& g, const FasterRcnn& model, const Value& map, const Value& proposals,
                const Value& roi_scale);
void detections(Graph& g, const FasterRcnn& model, const HeadValues& head, const Value& proposals,
                const Limits& limits);

}  // namespace frcnn::onnx_export
