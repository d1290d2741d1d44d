#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "data/evaluate.h"

namespace frcnn {

/// What is wrong with a detection that is no true positive, or with an object that none found
/// (Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020).
enum class ErrorKind : uint8_t {
  classification,  ///< right place (IoU >= right), wrong class
  localisation,    ///< right class, background < IoU < right
  both,            ///< wrong class and wrong place
  duplicate,       ///< right, but its object was found by a better one
  background,      ///< overlaps no object (IoU <= background)
  missed,          ///< an object that no detection found or would find if corrected
};
inline constexpr size_t kErrorKinds = 6;
/// "classification" ...
const char* error_kind_name(ErrorKind kind);

struct ErrorOptions {
  double right = 0.5;       ///< least IoU of a right detection
  double background = 0.1;  ///< greatest IoU of a detection of nothing
  int most = 100;           ///< detections per picture, all classes together, that count
};

struct ErrorShare {
  int64_t count = 0;
  /// dAP: by how much the mean AP would grow if errors of this kind alone were corrected.
  double gain = 0;
};

/// One wrong detection or missed object.
struct DetectionError {
  ErrorKind kind = ErrorKind::background;
  int64_t image = 0;
  int64_t detection = -1;  ///< position in the list given; -1: missed
  int64_t object = -1;     ///< position in the picture's objects it belongs to; -1: none
};

struct ErrorResult {
  ErrorOptions options;
  /// Mean AP at IoU options.right (mean of interpolated precision at 101 recalls) over the classes
  /// that have objects or detections, as the paper's program counts: a class that has only
  /// detections counts 0. NaN where there is none.
  double map = 0;
  std::array<ErrorShare, kErrorKinds> kinds;  ///< by ErrorKind
  double false_positive_gain = 0;      ///< dAP if no wrong detection were ranked before a right one
  double false_negative_gain = 0;      ///< dAP if the objects not found did not exist
  std::vector<DetectionError> errors;  ///< by picture; detections by falling score, then objects
};

/// Every error is of the first kind that fits: localisation, classification, duplicate, background,
/// both. Corrected means: a localisation or classification error whose object nobody found becomes
/// right (the best one of an object; the others vanish), other wrong detections vanish, a missed
/// object vanishes. Difficult objects and crowds (by the share of the detection in them) make
/// detections on them, if they are not right, neither right nor wrong. Throws Error as
/// evaluate_voc() does, and for limits that are not 0 < background < right <= 1.
ErrorResult detection_errors(const Dataset& truth, const std::vector<Detection>& detections,
                             const ErrorOptions& options = {});

}  // namespace frcnn
