#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/faster_rcnn.h"
#include "weights/onnx/onnx_writer.h"

namespace frcnn {

/// Version of ONNX's operators that exported models use: the first whose RoiAlign knows both rules
/// of roi.layer.
inline constexpr int64_t kExportOpset = 16;

struct OnnxExportOptions {
  /// Size of the pictures that the model will take; 0 and 0: pictures of any size.
  int64_t height = 0, width = 0;
  std::string program_version;
};

/// The whole detector as one ONNX graph: what Detector::detect() does, from a picture of any or of
/// one fixed size to boxes in its pixels. docs/export.md tells how to use it.
///
/// Input `image` u8 (1, 3, height, width): R, G, B values, rows from the top. Outputs, best first:
/// `boxes` f32 (detections, 4) x1, y1, x2, y2 in pixels of the picture, `scores` f32 (detections),
/// `labels` i64 (detections) 0 .. K-1. Without an object there are 0 detections.
///
/// Resizing, channel order, normalisation and padding are inside, computed as make_input() does;
/// decoding, clipping, the filters of sizes and scores and both non-maximum suppressions as the
/// model's own. metadata_props hold `format` ("frcnn"), `classes` (one name per line), `config`
/// (TOML), `preprocess` (JSON), `picture_size` ("any" or "HxW") and `program_version`.
///
/// Throws Error that names the setting where the config asks for something that ONNX cannot express
/// (docs/export.md, limits), where a fixed size leaves no map, or above 2 GiB.
OnnxWriter onnx_model(const FasterRcnn& model, const Config& config,
                      const std::vector<std::string>& classes, const OnnxExportOptions& options);

/// onnx_model() written to a file, as a whole or not at all.
void export_onnx(const FasterRcnn& model, const Config& config,
                 const std::vector<std::string>& classes, const OnnxExportOptions& options,
                 const std::filesystem::path& file);

}  // namespace frcnn
