// From a picture of 8-bit values to the network's input: kernels/image/resize.h and image_size.h as
// nodes. Resizing is written with Gather instead of ONNX's Resize, whose sampling positions
// runtimes round in ways of their own: here they are the ones that the model was trained with.
#include <algorithm>

#include "kernels/image/image_size.h"
#include "model/onnx_export/parts.h"

namespace frcnn::onnx_export {
namespace {

/// The two neighbours of each sample of one axis, i64 (out), and the part of the second, f32 (out).
struct Samples {
  Value low, high, part;
};

Samples fixed_samples(Graph& g, const std::string& axis, int64_t in, int64_t out) {
  std::vector<int64_t> low, high;
  std::vector<float> part;
  const float scale = static_cast<float>(in) / static_cast<float>(out);
  for (int64_t i = 0; i < out; ++i) {
    const float at = std::max(scale * (static_cast<float>(i) + 0.5F) - 0.5F, 0.0F);
    const int64_t cell = std::min(static_cast<int64_t>(at), in - 1);
    low.push_back(cell);
    high.push_back(std::min(cell + 1, in - 1));
    part.push_back(std::min(at - static_cast<float>(cell), 1.0F));
  }
  return {g.array(axis + "/low", Tensor::from({out}, low)),
          g.array(axis + "/high", Tensor::from({out}, high)),
          g.array(axis + "/part", Tensor::from({out}, part))};
}

/// in, out: i64 numbers.
Samples dynamic_samples(Graph& g, const std::string& axis, const Value& in, const Value& out) {
  const auto named = [&](const char* name) { return axis + "/" + name; };
  const Value in_f = g.cast(named("in"), in, OnnxType::f32);
  const Value scale = g.op("Div", named("scale"), {in_f, g.cast(named("out"), out, OnnxType::f32)});
  const Value index = g.cast(
      named("index_f32"), g.op("Range", named("index"), {g.i64(0), out, g.i64(1)}), OnnxType::f32);
  const Value centre = g.op("Add", named("centre"), {index, g.f32(0.5)});
  const Value scaled = g.op("Mul", named("scaled"), {scale, centre});
  const Value at =
      g.op("Max", named("at"), {g.op("Sub", named("corner"), {scaled, g.f32(0.5)}), g.f32(0)});
  const Value last = g.op("Sub", named("last"), {in, g.i64(1)});
  const Value cell = g.cast(named("cell"), g.op("Floor", named("floor"), {at}), OnnxType::i64);
  const Value low = g.op("Min", named("low"), {cell, last});
  const Value next = g.op("Add", named("next"), {low, g.i64(1)});
  const Value rest = g.op("Sub", named("rest"), {at, g.cast(named("low_f32"), low, OnnxType::f32)});
  return {low, g.op("Min", named("high"), {next, last}),
          g.op("Min", named("part"), {rest, g.f32(1)})};
}

/// (1 - part) * low + part * high along an axis; `shape` makes `part` broadcast.
Value interpolate(Graph& g, const std::string& name, const Value& x, const Samples& samples,
                  int64_t axis, const std::vector<int64_t>& shape) {
  const Value part = g.op("Reshape", name + "/weight", {samples.part, g.i64s(shape)});
  const Value rest = g.op("Sub", name + "/rest", {g.f32(1), part});
  const Value low = g.op("Gather", name + "/gather_low", {x, samples.low}, {{"axis", axis}});
  const Value high = g.op("Gather", name + "/gather_high", {x, samples.high}, {{"axis", axis}});
  return g.op("Add", name + "/sum",
              {g.op("Mul", name + "/times_rest", {low, rest}),
               g.op("Mul", name + "/times_part", {high, part})});
}

Value resize(Graph& g, const Value& x, const Sizes& sizes) {
  Samples columns, rows;
  if (sizes.fixed) {
    if (sizes.fixed->picture == sizes.fixed->resized) return x;
    columns = fixed_samples(g, "columns", sizes.fixed->picture[1], sizes.fixed->resized[1]);
    rows = fixed_samples(g, "rows", sizes.fixed->picture[0], sizes.fixed->resized[0]);
  } else {
    const auto side = [&](const char* name, const Value& size, int64_t i) {
      return g.pick(name, size, i);
    };
    columns = dynamic_samples(g, "columns", side("width", sizes.picture, 1),
                              side("resized_width", sizes.resized, 1));
    rows = dynamic_samples(g, "rows", side("height", sizes.picture, 0),
                           side("resized_height", sizes.resized, 0));
  }
  return interpolate(g, "blend_rows", interpolate(g, "blend_columns", x, columns, 3, {1, 1, 1, -1}),
                     rows, 2, {1, 1, -1, 1});
}

/// scaled_image_size() in the graph: in double, so that no size rounds the other way.
Value resized_size(Graph& g, const PreprocessConfig& p, const Value& picture) {
  const bool nearest = p.rounding == "nearest";
  const Value h = g.pick("size/height", picture, 0), w = g.pick("size/width", picture, 1);
  if (!p.keep_aspect)
    return g.op("Where", "size/resized",
                {g.op("Greater", "size/upright", {h, w}), g.i64s({p.longer_side, p.shorter_side}),
                 g.i64s({p.shorter_side, p.longer_side})});
  const Value shorter = g.f64(p.shorter_side), longer = g.f64(p.longer_side);
  Value scale = g.op("Div", "size/scale", {shorter, g.op("Min", "size/shorter", {h, w})});
  if (p.longer_side > 0) {
    const Value high = g.op("Max", "size/longer", {h, w});
    const Value limit = g.op("Div", "size/limit", {longer, high});
    const Value least = g.op("Min", "size/least", {scale, limit});
    if (nearest) {
      const Value side =
          g.op("Round", "size/rounded_longer", {g.op("Mul", "size/scaled_longer", {scale, high})});
      const Value too_long = g.op("Greater", "size/too_long", {side, longer});
      scale = g.op("Where", "size/chosen_scale", {too_long, least, scale});
    } else {
      scale = least;
    }
  }
  const Value exact = g.op("Mul", "size/exact", {picture, scale});
  const Value whole = g.cast(
      "size/whole", g.op(nearest ? "Round" : "Floor", "size/rounded", {exact}), OnnxType::i64);
  return g.op("Max", "size/resized", {whole, g.i64(1)});
}

}  // namespace

FixedSizes fixed_sizes(const FasterRcnn& model, int64_t height, int64_t width) {
  const PreprocessConfig& p = model.config().preprocess;
  const auto rounding =
      p.rounding == "floor" ? kernels::SizeRounding::floor : kernels::SizeRounding::nearest;
  const kernels::ImageSize size = kernels::scaled_image_size(
      height, width, p.shorter_side, p.longer_side, rounding, p.keep_aspect);
  FixedSizes fixed;
  fixed.picture = {height, width};
  fixed.resized = {size.height, size.width};
  const int64_t window = model.config().rpn.window;
  for (size_t i = 0; i < 2; ++i)
    fixed.padded[i] = (fixed.resized[i] + p.pad_multiple - 1) / p.pad_multiple * p.pad_multiple;
  fixed.map = model.backbone_spec().map_size(fixed.padded[0], fixed.padded[1]);
  for (int64_t& side : fixed.map) side += 2 * (window / 2) - window + 1;
  check(fixed.map[0] > 0 && fixed.map[1] > 0,
        "pictures of {} x {} pixels leave no feature map for this backbone", height, width);
  return fixed;
}

Sizes size_values(Graph& g, const PreprocessConfig& p, const std::optional<FixedSizes>& fixed) {
  Sizes sizes;
  sizes.fixed = fixed;
  if (fixed) return sizes;
  g.enter("picture");
  sizes.picture = g.slice("size", g.op("Shape", "shape", {"image"}), 0, 2, 4);
  const Value exact = g.cast("size_f64", sizes.picture, OnnxType::f64);
  sizes.resized = resized_size(g, p, exact);
  sizes.factor =
      g.op("Div", "factor", {g.cast("resized_f64", sizes.resized, OnnxType::f64), exact});
  sizes.padded = sizes.resized;
  if (p.pad_multiple > 1) {
    const Value above = g.op("Add", "size/above", {sizes.resized, g.i64(p.pad_multiple - 1)});
    const Value times = g.op("Div", "size/times", {above, g.i64(p.pad_multiple)});
    sizes.padded = g.op("Mul", "size/padded", {times, g.i64(p.pad_multiple)});
  }
  return sizes;
}

Value network_input(Graph& g, const PreprocessConfig& p, const Sizes& sizes) {
  g.enter("picture");
  Value x = "image";
  const bool bgr = p.channels == "bgr";
  if (bgr) x = g.op("Gather", "bgr", {x, g.i64s({2, 1, 0})}, {{"axis", int64_t{1}}});
  x = resize(g, g.cast("image_f32", x, OnnxType::f32), sizes);
  std::vector<float> factor, shift;
  for (size_t c = 0; c < 3; ++c) {
    factor.push_back(static_cast<float>(p.scale / p.stddev[c]));
    shift.push_back(static_cast<float>(-p.mean[c] / p.stddev[c]));
  }
  x = g.op("Mul", "scaled", {x, g.array("channel_factor", Tensor::from({1, 3, 1, 1}, factor))});
  x = g.op("Add", "normalised", {x, g.array("channel_shift", Tensor::from({1, 3, 1, 1}, shift))});
  if (p.pad_multiple == 1) return x;
  if (sizes.fixed) {
    const auto& [picture, resized, padded, map] = *sizes.fixed;
    if (padded == resized) return x;
    return g.op(
        "Pad", "padded",
        {x, g.i64s({0, 0, 0, 0, 0, 0, padded[0] - resized[0], padded[1] - resized[1]}), g.f32(0)});
  }
  const Value missing = g.op("Sub", "missing", {sizes.padded, sizes.resized});
  const Value pads =
      g.op("Concat", "pads", {g.i64s({0, 0, 0, 0, 0, 0}), missing}, {{"axis", int64_t{0}}});
  return g.op("Pad", "padded", {x, pads, g.f32(0)});
}

Limits limits(Graph& g, const ModelConfig& config, const Sizes& sizes) {
  g.enter("limits");
  const double proposal = config.rpn.test.min_size, detection = config.test.min_size;
  if (sizes.fixed) {
    const auto& [picture, resized, padded, map] = *sizes.fixed;
    const double y = static_cast<double>(resized[0]) / static_cast<double>(picture[0]);
    const double x = static_cast<double>(resized[1]) / static_cast<double>(picture[1]);
    return {g.f32s({static_cast<double>(resized[1]), static_cast<double>(resized[0])}),
            g.f32s({proposal * x, proposal * y}), g.f32s({detection * x, detection * y}),
            g.f32s({x, y, x, y})};
  }
  const Value xy = g.i64s({1, 0});
  const Value factor = g.rows("factor_xy", sizes.factor, xy);
  const auto side = [&](const std::string& name, double least) {
    return g.cast(name, g.op("Mul", name + "_f64", {factor, g.f64(least)}), OnnxType::f32);
  };
  return {g.cast("corner", g.rows("resized_xy", sizes.resized, xy), OnnxType::f32),
          side("proposal_side", proposal), side("detection_side", detection),
          g.cast("box_factor", g.rows("factor_xyxy", sizes.factor, g.i64s({1, 0, 1, 0})),
                 OnnxType::f32)};
}

}  // namespace frcnn::onnx_export
