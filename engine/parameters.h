#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/tensor.h"
#include "kernels/random/philox.h"

namespace frcnn {

class ReducedLayer;

/// Filler of a new weight (kernels/random/init.h).
struct Initializer {
  enum class Method { zero, one, gauss, uniform, xavier, he };
  Method method = Method::gauss;
  double scale = 0.01;  ///< gauss: standard deviation; uniform: half width

  /// Fills `weight`, (O, C, kh, kw) or (out, in) or a vector, with the numbers of `key`.
  void fill(Tensor& weight, const kernels::RandomKey& key) const;
};

/// What a parameter is for: optimisers treat the kinds differently.
enum class ParameterKind {
  weight,
  bias,
  norm_scale,  ///< gamma and beta of a batch norm
  buffer       ///< state that no gradient changes: running statistics
};

/// One named array of a model. Layers hold the same Tensor handle.
struct Parameter {
  std::string name;  ///< "backbone.conv1_1.weight"
  Tensor tensor;
  ParameterKind kind = ParameterKind::weight;
  bool trainable() const { return kind != ParameterKind::buffer && tensor.requires_grad(); }
};

/// All parameters of a model in the order of their creation, which is also the order in checkpoints
/// and in flat buckets.
class Parameters {
 public:
  /// With `fill` false new parameters keep whatever is in memory, for models whose values are about
  /// to be loaded: filling 137 million weights of VGG16 takes seconds.
  explicit Parameters(uint64_t seed, DType dtype = DType::f32, bool fill = true, Device device = {})
      : seed_(seed), dtype_(dtype), fill_(fill), device_(device) {}

  /// Adds a parameter and fills it with numbers that depend only on the seed and the name. Throws
  /// Error when the name exists.
  Tensor create(const std::string& name, const Shape& shape, ParameterKind kind,
                const Initializer& initializer);
  const std::vector<Parameter>& all() const { return all_; }
  /// nullptr when there is none.
  const Parameter* find(const std::string& name) const;
  /// Sets requires_grad of all parameters (buffers excepted) whose name starts with `prefix`.
  void set_trainable(const std::string& prefix, bool trainable);
  /// The reduced precision of the layer whose weight has that name (engine/reduced_layer.h): the
  /// same object for layer and caller, made at the first request.
  std::shared_ptr<ReducedLayer> reduced_layer(const std::string& weight);
  /// All that were requested, by the names of their weights.
  const std::map<std::string, std::shared_ptr<ReducedLayer>>& reduced_layers() const {
    return reduced_layers_;
  }
  /// Elements of all weights, biases and scales, buffers not counted, whose name starts with
  /// `prefix`.
  int64_t count(const std::string& prefix = "") const;
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }

 private:
  uint64_t seed_;
  DType dtype_;
  bool fill_;
  Device device_;
  std::vector<Parameter> all_;
  std::map<std::string, std::shared_ptr<ReducedLayer>> reduced_layers_;
};

}  // namespace frcnn
