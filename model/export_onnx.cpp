#include "model/export_onnx.h"

#include <nlohmann/json.hpp>

#include "model/onnx_export/parts.h"
#include "model/options.h"

namespace frcnn {
namespace {

/// Numbers up to here are exact in a float: ranks tell every box from its neighbours.
constexpr int64_t kMostRanks = int64_t{1} << 24;

void check_expressible(const FasterRcnn& model, const OnnxExportOptions& options) {
  const ModelConfig& config = model.config();
  check((options.height == 0) == (options.width == 0) && options.height >= 0 && options.width >= 0,
        "expected both a height and a width of pictures, or neither, got {} x {}", options.height,
        options.width);
  check(config.roi.layer != "precise_roi",
        "roi.layer = \"precise_roi\" cannot be exported to ONNX, which has no such operator; train "
        "with \"roi_align\", \"roi_align_legacy\" or \"roi_pool\" to export");
  check(config.rpn.test.pre_nms <= kMostRanks,
        "rpn.test.pre_nms: {} boxes cannot be exported to ONNX, at most {}",
        config.rpn.test.pre_nms, kMostRanks);
  check(config.rpn.test.post_nms <= kMostRanks / model.classes(),
        "rpn.test.post_nms: {} proposals of {} classes cannot be exported to ONNX, at most {}",
        config.rpn.test.post_nms, model.classes(), kMostRanks / model.classes());
}

std::string preprocess_json(const PreprocessConfig& p) {
  const nlohmann::ordered_json json = {{"channels", p.channels},
                                       {"scale", p.scale},
                                       {"mean", p.mean},
                                       {"stddev", p.stddev},
                                       {"shorter_side", p.shorter_side},
                                       {"longer_side", p.longer_side},
                                       {"keep_aspect", p.keep_aspect},
                                       {"rounding", p.rounding},
                                       {"pad_multiple", p.pad_multiple}};
  return json.dump();
}

}  // namespace

OnnxWriter onnx_model(const FasterRcnn& model, const Config& config,
                      const std::vector<std::string>& classes, const OnnxExportOptions& options) {
  namespace parts = onnx_export;
  using parts::Value;
  check_expressible(model, options);
  check(static_cast<int64_t>(classes.size()) == model.classes(),
        "expected names of {} classes, got {}", model.classes(), classes.size());

  OnnxWriter writer("faster_rcnn", kExportOpset, "frcnn", options.program_version);
  const bool fixed = options.height > 0;
  const OnnxSize height = fixed ? OnnxSize(options.height) : OnnxSize("height");
  const OnnxSize width = fixed ? OnnxSize(options.width) : OnnxSize("width");
  writer.input("image", OnnxType::u8, {int64_t{1}, int64_t{3}, height, width});

  parts::Graph g(writer);
  const PreprocessConfig& p = model.config().preprocess;
  std::optional<parts::FixedSizes> numbers;
  if (fixed) numbers = parts::fixed_sizes(model, options.height, options.width);
  const parts::Sizes sizes = parts::size_values(g, p, numbers);
  const parts::Limits limits = parts::limits(g, model.config(), sizes);
  const Value map = parts::backbone(g, model, parts::network_input(g, p, sizes));
  const parts::RpnValues rpn = parts::rpn(g, model, sizes, map);
  const Value proposals = parts::proposals(g, model.config().rpn, rpn, limits);
  const parts::HeadValues head = parts::head(g, model, map, proposals, rpn.roi_scale);
  parts::detections(g, model, head, proposals, limits);

  const OnnxSize found = std::string("detections");
  writer.output("boxes", OnnxType::f32, {found, int64_t{4}});
  writer.output("scores", OnnxType::f32, {found});
  writer.output("labels", OnnxType::i64, {found});
  writer.description(
      "Faster R-CNN. image: u8 (1, 3, height, width), R, G, B. boxes: x1, y1, x2, y2 in pixels of "
      "the picture, best first; labels count from 0.");
  std::string names;
  for (const std::string& name : classes) names += (names.empty() ? "" : "\n") + name;
  writer.metadata("format", "frcnn");
  writer.metadata("classes", names);
  writer.metadata("config", to_toml(config));
  writer.metadata("preprocess", preprocess_json(p));
  writer.metadata("picture_size",
                  fixed ? fmt::format("{}x{}", options.height, options.width) : "any");
  writer.metadata("program_version", options.program_version);
  return writer;
}

void export_onnx(const FasterRcnn& model, const Config& config,
                 const std::vector<std::string>& classes, const OnnxExportOptions& options,
                 const std::filesystem::path& file) {
  onnx_model(model, config, classes, options).save(file);
}

}  // namespace frcnn
