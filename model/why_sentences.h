#pragma once

#include <string>
#include <vector>

#include "model/why.h"

namespace frcnn {

/// What the sentences of an explanation quote.
struct WhyContext {
  const InferenceTrace& trace;
  const JudgedTruth& truth;
  const ModelConfig& config;
  const InputSize& size;
  const std::vector<std::string>& class_names;
  double limit;
};

/// One sentence: what lost the object, with the setting that would change it.
std::string sentence_of(const MissedObject& missed, const WhyContext& context);
/// One sentence: what the detection is instead.
std::string sentence_of(const FalseDetection& wrong, const WhyContext& context);

}  // namespace frcnn
