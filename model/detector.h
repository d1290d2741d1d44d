#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/device.h"
#include "kernels/boxes/box.h"
#include "model/types.h"

namespace frcnn {

struct Config;
class FasterRcnn;

/// A trained detector: what a program that ships one needs.
///
///   const frcnn::Detector detector = frcnn::Detector::load("model.h5");
///   for (const frcnn::ScoredBox& d : detector.detect(rgb, width, height)) ...
class Detector {
 public:
  /// Reads a checkpoint. Throws Error when it is missing, damaged or not a checkpoint. `settings`
  /// ("test.nms_iou=0.5") change what a trained detector may be asked to do otherwise: keys of
  /// test., rpn.test. and the picture's size in preprocess.; UsageError on others.
  /// A model of `frcnn quantize` computes with 8-bit integers on the CPU; on a GPU, which has no
  /// kernels for them, in float32 with the rounded weights, as on the CPU with `as_float`.
  static Detector load(const std::filesystem::path& checkpoint,
                       const std::vector<std::string>& settings = {}, Device device = {},
                       bool as_float = false);
  ~Detector();
  Detector(Detector&&) noexcept;
  Detector& operator=(Detector&&) noexcept;

  /// Objects in a picture of 8-bit R, G, B values, row by row from the top: (height, width, 3).
  /// Boxes are in pixels of the picture, best score first. May be called from one thread at a time.
  std::vector<ScoredBox> detect(const uint8_t* rgb, int width, int height) const;

  /// The same for several pictures, of equal or different sizes, in one pass of the network: one
  /// list each. Every list equals the one that the picture gets alone.
  std::vector<std::vector<ScoredBox>> detect(std::span<const PictureView> pictures) const;

  /// Names of labels 0 .. K-1.
  const std::vector<std::string>& class_names() const;
  /// The settings stored in the checkpoint; test.score and its neighbours may be changed.
  const Config& config() const;
  void set_score_threshold(double score);
  const FasterRcnn& model() const;
  /// From now on it computes with bfloat16 factors (docs/quantization.md). Throws Error on a
  /// processor without bfloat16 arithmetic, on a GPU (engine/gpu_math.h) and for an 8-bit model.
  void use_bf16();
  /// "f32", "bf16", or for 8-bit models what they are and where they compute.
  const std::string& precision() const;
  /// Throws Error that says what to do instead when a part was never trained (train.scheme
  /// "rpn_only" or "detector_only"), so that detections would mean nothing. `file` begins the
  /// message.
  void require_rpn(const std::string& file) const;
  void require_head(const std::string& file) const;

 private:
  struct Impl;
  explicit Detector(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace frcnn
