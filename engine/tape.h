#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/tensor.h"

namespace frcnn {

class BackwardContext;

/// Computes the vector-Jacobian product of one operation.
using BackwardFunction = std::function<void(BackwardContext&)>;

/// Records operations in the order in which they run, then walks them backwards once.
///
///   Tape tape;
///   Tensor loss;
///   { Tape::Scope recording(tape); loss = model.forward(batch); }
///   tape.backward(loss);   // fills grad() of every leaf with requires_grad()
///
/// The order of recording is a topological order, so the walk is a plain loop. A node and all it
/// holds (saved activations, gradient buffers) is freed as soon as it was walked.
class Tape {
 public:
  /// Makes `tape` the one that operations of this thread record on, for the scope's lifetime.
  class Scope {
   public:
    explicit Scope(Tape& tape);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Tape* previous_;
  };
  /// Nothing is recorded on this thread for the scope's lifetime.
  class NoGrad {
   public:
    NoGrad();
    ~NoGrad();
    NoGrad(const NoGrad&) = delete;
    NoGrad& operator=(const NoGrad&) = delete;

   private:
    Tape* previous_;
  };

  /// True when an operation on `inputs` must be recorded: a tape is active on this thread and one
  /// of the inputs requires a gradient (or the tape is watched).
  static bool recording(std::initializer_list<const Tensor*> inputs);

  /// Appends an operation to this thread's tape and marks the outputs as requiring a gradient. Call
  /// only when recording(inputs). `backward` must capture whatever it needs later.
  static void record(std::string name, const std::vector<Tensor>& inputs,
                     const std::vector<Tensor>& outputs, BackwardFunction backward);

  /// Gradient of the scalar `loss` with respect to every leaf. Empties the tape.
  void backward(const Tensor& loss);
  /// The same from given gradients of several tensors.
  void backward(const std::vector<std::pair<Tensor, Tensor>>& gradients);

  /// Called after each operation's backward with every gradient that it produced: (operation,
  /// "input 0", gradient). For the search of the first non-finite tensor.
  using Observer = std::function<void(const std::string&, const std::string&, const Tensor&)>;
  void set_observer(Observer observer) { observer_ = std::move(observer); }

  /// Called with every operation right after it ran: its name, inputs and outputs. What it returns
  /// is the operation's name from then on, also for the observer. While there is one, operations
  /// whose inputs need no gradient are recorded too. For the same search.
  using Watcher = std::function<std::string(const std::string&, const std::vector<Tensor>&,
                                            const std::vector<Tensor>&)>;
  void set_watcher(Watcher watcher) { watcher_ = std::move(watcher); }

  size_t size() const { return nodes_.size(); }
  /// Number of gradient buffers alive; 0 before and after backward().
  size_t live_gradients() const { return gradients_.size(); }

 private:
  friend class BackwardContext;
  struct Input {
    uint64_t id = 0;
    bool needed = false;
    Tensor leaf;  // defined when the input is a leaf: its gradient outlives the walk
    Shape shape;
    DType dtype = DType::f32;
    Device device;
    int64_t block = 1;
  };
  struct Node {
    std::string name;
    std::vector<Input> inputs;
    std::vector<uint64_t> outputs;
    BackwardFunction backward;
  };

  std::vector<Node> nodes_;
  std::unordered_map<uint64_t, Tensor>
      gradients_;                                // of tensors whose producer is still to be walked
  std::unordered_map<uint64_t, bool> produced_;  // ids of this tape's outputs
  Observer observer_;
  Watcher watcher_;
};

/// What a backward function sees of its operation.
class BackwardContext {
 public:
  BackwardContext(Tape& tape, size_t node);

  /// Gradient of output i: same shape, type and channel block as the output; undefined when nothing
  /// that is differentiated used it. The buffer is the operation's own now: it may be overwritten
  /// and handed on with give_input().
  Tensor& grad_output(size_t i = 0) { return grad_outputs_[i]; }
  /// Whether the gradient of input i is wanted.
  bool needs_input(size_t i) const;
  /// Calls write(destination) with a buffer of input i's shape and layout; `write` must fill all of
  /// it. A leaf's first gradient goes straight into the leaf's gradient buffer, later ones are
  /// added in the order of the walk. Does nothing unless needs_input(i).
  void write_input(size_t i, const std::function<void(Tensor& destination)>& write);
  /// Hands over an existing buffer (same shape, type and block as input i) as its gradient.
  void give_input(size_t i, Tensor gradient);

 private:
  Tape& tape_;
  Tape::Node& node_;
  std::vector<Tensor> grad_outputs_;
};

}  // namespace frcnn
