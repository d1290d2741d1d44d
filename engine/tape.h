#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/tensor.h"

namespace frcnn {

/// What a backward function sees of its node.
class BackwardContext {
 public:
  /// Gradient of output i: same shape, type and channel block as the output. Undefined when nothing
  /// that was differentiated used this output. The buffer belongs to the node now: it may be
  /// overwritten and handed on.
  Tensor& grad_output(size_t i = 0);
  /// Whether the gradient of input i is wanted.
  bool needs_input(size_t i) const;
  /// Calls write(destination) with a buffer of input i's shape and layout; `write` fills all of it
  /// (destination's content is undefined before). The first gradient of a leaf goes straight into
  /// the leaf's gradient buffer; later ones are added. Nothing happens unless needs_input(i).
  void write_input(size_t i, const std::function<void(Tensor& destination)>& write);
  /// Hands over an existing buffer as gradient of input i (same shape and channel block).
  void give_input(size_t i, Tensor gradient);
};

/// Records operations in the order in which they run, then walks them backwards once.
///
///   Tape tape;
///   { Tape::Scope recording(tape);  loss = model.forward(...); }
///   tape.backward(loss);            // fills grad() of every leaf with requires_grad()
class Tape { };

}  // namespace frcnn
