#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "model/faster_rcnn.h"
#include "model/value_histogram.h"
#include "weights/checkpoint.h"

// Post-training quantisation of a detector to 8-bit integers (docs/quantization.md).
namespace frcnn {

/// Weights of the layers that are quantised, by name: all convolutions and dense layers but
///   - the first convolution, which reads the picture: few operations, and its rounding errors pass
///     through the whole network,
///   - the predictors rpn.cls, rpn.box, head.cls and head.box, whose outputs are the result,
///   - those named in `keep` ("head.fc6", or "backbone.*"): UsageError for a name that fits none.
std::vector<std::string> int8_layers(const FasterRcnn& model, const std::vector<std::string>& keep);

/// Lets these layers compute with bfloat16. Throws Error on a processor without such arithmetic.
void use_bf16(const FasterRcnn& model);

/// Watches the inputs of layers while the model detects, to find their ranges.
class Calibration {
 public:
  /// `layers`: int8_layers(). Error when a layer is of reduced precision already.
  Calibration(const FasterRcnn& model, const std::vector<std::string>& layers);
  ~Calibration();
  Calibration(const Calibration&) = delete;
  Calibration& operator=(const Calibration&) = delete;

  /// By the names of the weights.
  const std::map<std::string, ValueHistogram>& ranges() const { return ranges_; }

 private:
  const FasterRcnn& model_;
  std::map<std::string, ValueHistogram> ranges_;
};

/// The checkpoint for inference with quantised weights and the input scales that `calibration`
/// found: averaged weights where the checkpoint has them, no optimiser state. `pictures` is how
/// many were seen. Throws Error for a layer that saw nothing, or only zeros.
Checkpoint quantize(const Checkpoint& checkpoint, const Calibration& calibration,
                    const RangeRule& rule, int64_t pictures);

/// The same in a model that is loaded: it computes with integers from now on.
void use_int8(const FasterRcnn& model, const Calibration& calibration, const RangeRule& rule);

/// Whether a checkpoint holds 8-bit weights.
bool is_int8(const Checkpoint& checkpoint);
/// "int8 (18 layers; percentile 99.99 over 64 pictures)"; empty for others.
std::string int8_text(const Checkpoint& checkpoint);
/// Throws Error that begins with `name` for a checkpoint with 8-bit weights: `what` ("be trained")
/// it cannot do.
void require_float(const Checkpoint& checkpoint, const std::string& name, const std::string& what);

/// Prepares a model for the 8-bit weights of a checkpoint, before load_parameters(). On the CPU its
/// layers compute with integers from then on; on a GPU, which has no kernels for them, and with
/// `as_float` they get float32 weights: the checkpoint's become those.
void take_int8(FasterRcnn& model, Checkpoint& checkpoint, const std::string& file, bool as_float);

/// The integer form of one weight of a checkpoint; Error when its parts are missing or do not fit.
Int8Weights int8_weights(const Checkpoint& checkpoint, const std::string& weight,
                         const std::string& file);
/// The weights as float32: scale times integer.
Tensor dequantized(const Int8Weights& weights);

}  // namespace frcnn
