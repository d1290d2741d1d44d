#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/folded_norm.h"
#include "engine/ops/norm.h"
#include "engine/packed_weights.h"
#include "engine/parameters.h"
#include "engine/reduced_layer.h"
#include "model/graph/network.h"
#include "weights/checkpoint.h"

namespace frcnn {

/// The layers of a Network with their parameters, ready to run on the parameters' device.
class NetworkLayers {
 public:
  /// Makes "<prefix><node>.weight" and so on. `initializer` fills weights until load().
  NetworkLayers(Network network, const std::string& prefix, const Initializer& initializer,
                Parameters& parameters);

  /// Takes the values of an ImportedNetwork; Error when one is missing or of another shape.
  void load(const TensorMap& values);
  /// The node of that name and all that it depends on are not trained any more, and their batch
  /// norms keep their statistics. Error for a name that does not exist, which begins with `key`.
  void freeze_until(const std::string& name, const std::string& key);

  /// images (N, C, H, W) to the network's output. With `batch_statistics`, batch norms of nodes
  /// that are trained normalise with the batch and update their running statistics.
  Tensor forward(const Tensor& images, bool batch_statistics) const;

  const Network& network() const { return network_; }

 private:
  /// What one node needs to run; most have nothing.
  struct Layer {
    Tensor weight, bias;
    NormLayer norm;
    Tensor constant;  // a buffer of the model, or one number on the device
    std::shared_ptr<PackedWeights> packed = std::make_shared<PackedWeights>();
    std::shared_ptr<ReducedLayer> reduced;  // of conv, linear
    bool frozen = false;
    /// Of a convolution whose only reader is a batch norm: that node, and the two as one.
    size_t norm_behind = 0;
    std::shared_ptr<FoldedNorm> folded;
  };
  Layer make_layer(const NetworkNode& node, const NetworkValue& input,
                   const Initializer& initializer, Parameters& parameters);
  /// Whether node i can take its batch norm along in this pass; and both of them.
  bool folds(size_t i, const std::vector<Tensor>& values, bool batch_statistics) const;
  Tensor run_folded(size_t i, const std::vector<Tensor>& values) const;
  Tensor run(const NetworkNode& node, const Layer& layer, const std::vector<Tensor>& values,
             bool batch_statistics) const;

  Network network_;
  std::string prefix_;
  std::vector<Layer> layers_;
  std::vector<Parameter> own_;    // all parameters and buffers of this network
  std::vector<size_t> last_use_;  // by value: the last node that needs it
};

}  // namespace frcnn
