#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "engine/tape.h"
#include "model/faster_rcnn.h"

namespace frcnn {

/// The first tensor of a training step that was not finite.
struct NonFinite {
  std::string phase;   ///< "input", "weights", "forward", "backward", "gradients", "update"
  std::string op;      ///< "conv2d", ...; empty where no operation made the tensor
  std::string layer;   ///< "backbone.conv3_1", "after rpn.conv"; a parameter's name; empty: none
  std::string tensor;  ///< "output", "gradient of input 0", "pixels", ...
  int64_t elements = 0, nan = 0, infinite = 0;
  double min = 0, max = 0;     ///< of the finite ones; 0 where there are none
  std::vector<size_t> images;  ///< of the batch that it concerns; all where that cannot be told
  size_t pass = 0;             ///< within the step, from 0

  bool operator==(const NonFinite&) const = default;
  /// "forward: conv2d of layer backbone.conv3_1, output: 12 of 3200 values are not finite (12 NaN,
  /// 0 infinite; the others from -1.2 to 3.4)".
  std::string string() const;
};

/// Counts what is not finite in a floating-point tensor (another type is always finite); nullopt
/// when all of it is finite. Only the numbers of the result are set.
std::optional<NonFinite> count_non_finite(const Tensor& tensor);

/// Looks at everything that a training pass computes on the CPU, in the order of computing, and
/// stops it at the first tensor that is not finite. Attach it to the tape before the pass.
class NonFiniteSearch {
 public:
  explicit NonFiniteSearch(const FasterRcnn& model);

  /// Checks weights and buffers; then pixels and objects of an input.
  std::optional<NonFinite> check_weights(const std::string& phase) const;
  std::optional<NonFinite> check_input(const ModelInput& input,
                                       const std::vector<GroundTruth>& truth) const;
  /// Gradients after all passes of a step.
  std::optional<NonFinite> check_gradients() const;
  /// Makes the tape throw Found at the first operation with a result, or gradient, that is not
  /// finite. The search must outlive the pass.
  void attach(Tape& tape);

  struct Found {
    NonFinite what;
  };

 private:
  std::string label(const std::string& op, const std::vector<Tensor>& inputs,
                    const std::vector<Tensor>& outputs);
  const FasterRcnn& model_;
  std::unordered_map<uint64_t, std::string> layers_;  // by tensor: a parameter's, or that before it
  std::unordered_set<uint64_t> parameters_;
};

}  // namespace frcnn
