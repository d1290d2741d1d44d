#pragma once

#include <string>
#include <vector>

#include "model/graph/network.h"
#include "weights/checkpoint.h"
#include "weights/onnx/onnx_graph.h"

namespace frcnn {

/// A place where a network can be cut: a map through which everything behind it passes (the only
/// value that later nodes use), so nothing else would be lost.
struct CutCandidate {
  std::string node;  ///< name in the file, as `cut` takes it
  NetworkValue value;
};

/// A node that no network of this program can do.
struct UnsupportedNode {
  size_t index = 0;  ///< in the file, from 0
  std::string name, op, reason;
  std::string string() const;  ///< "node 17 'features.3/Softplus' (Softplus): ..."
};

/// What a file offers.
struct OnnxSurvey {
  std::vector<CutCandidate> candidates;  ///< in the order of the file
  std::string chosen;                    ///< the default cut, or "" when no candidate fits
  std::vector<UnsupportedNode> unsupported;
};
OnnxSurvey survey_onnx(const OnnxGraph& graph);

struct ImportedNetwork {
  Network network;
  /// "<node>.weight", ... of all parameters and buffers of the network, f32.
  TensorMap values;
};

/// The part of a graph up to `cut`, the name of a node or of an output tensor. "" takes the last
/// candidate of stride 16, or else of stride 32; Error with the list of candidates when there is
/// none. Error that lists the nodes before the cut which are not supported.
///
/// Constants are folded; Dropout and Identity vanish; a ReLU joins the convolution, dense layer or
/// batch norm before it; batch norm stays a layer of its own, so that it can be trained. What the
/// file computes with float16 or float64 weights is computed in the model's type.
ImportedNetwork import_onnx(const OnnxGraph& graph, const std::string& cut);

}  // namespace frcnn
