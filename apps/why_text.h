#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "apps/show_source.h"
#include "model/why.h"

namespace frcnn::apps {

/// One explained picture: what the texts and the drawing need.
struct ExplainedPicture {
  ShownPicture picture;
  JudgedTruth truth;
  InferenceTrace trace;
  PictureExplanation explanation;
};

/// How many objects and detections of a split ended where.
struct WhySummary {
  int64_t pictures = 0, objects = 0, found = 0, right = 0, not_judged = 0;
  std::array<int64_t, kLossStages> lost{};
  std::array<int64_t, kFalseKinds> wrong{};
  void add(const ExplainedPicture& picture);
  int64_t missed() const;
  int64_t false_detections() const;
};

/// The traces of a picture as indented lines, boxes in pixels of the picture.
std::string why_text(const ExplainedPicture& p, const std::vector<std::string>& classes);
std::string summary_text(const WhySummary& summary);
/// The same as JSON: an array of pictures, and the summary, in one object.
std::string why_json(const std::vector<std::string>& pictures, const WhySummary& summary);
/// One picture of that array.
std::string picture_json(const ExplainedPicture& p, const std::vector<std::string>& classes);
/// Found and missed objects with the stage that lost them, false detections with their kind.
Image why_picture(const ExplainedPicture& p, const std::vector<std::string>& classes);

}  // namespace frcnn::apps
