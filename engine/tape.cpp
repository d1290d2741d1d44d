#include "engine/tape.h"

#include "engine/dispatch.h"
#include "kernels/elementwise/elementwise.h"

namespace frcnn {
namespace {

thread_local Tape* active_tape = nullptr;

/// target += addend, element by element.
void accumulate(Tensor& target, const Tensor& addend) {
  check(target.shape() == addend.shape() && target.dtype() == addend.dtype() &&
            target.channel_block() == addend.channel_block(),
        "[tape] a gradient of {} {} (channel block {}) cannot be added to one of {} {} (channel "
        "block {})",
        name_of(addend.dtype()), addend.shape().string(), addend.channel_block(),
        name_of(target.dtype()), target.shape().string(), target.channel_block());
  with_float(target.dtype(), "tape", [&](auto t) {
    using T = decltype(t);
    T* sum = target.data<T>();
    FRCNN_CALL(target.device(), add, target.stored_elements(), sum, addend.data<T>(), sum);
  });
}

}  // namespace

Tape::Scope::Scope(Tape& tape) : previous_(active_tape) {
  active_tape = &tape;
}
Tape::Scope::~Scope() {
  active_tape = previous_;
}
Tape::NoGrad::NoGrad() : previous_(active_tape) {
  active_tape = nullptr;
}
Tape::NoGrad::~NoGrad() {
  active_tape = previous_;
}

bool Tape::recording(std::initializer_list<const Tensor*> inputs) {
  if (!active_tape) return false;
  if (active_tape->watcher_) return true;
  for (const Tensor* input : inputs)
    if (input->requires_grad()) return true;
  return false;
}

void Tape::record(std::string name, const std::vector<Tensor>& inputs,
                  const std::vector<Tensor>& outputs, BackwardFunction backward) {
  FRCNN_INVARIANT(active_tape != nullptr);
  Tape& tape = *active_tape;
  if (tape.watcher_) name = tape.watcher_(name, inputs, outputs);
  Node node{std::move(name), {}, {}, std::move(backward)};
  for (const Tensor& tensor : inputs) {
    Input input;
    input.id = tensor.id();
    input.needed = tensor.requires_grad();
    if (input.needed) {
      if (!tape.produced_.contains(input.id)) input.leaf = tensor;
      input.shape = tensor.shape();
      input.dtype = tensor.dtype();
      input.device = tensor.device();
      input.block = tensor.channel_block();
    }
    node.inputs.push_back(std::move(input));
  }
  for (Tensor output : outputs) {
    output.set_requires_grad(true);
    tape.produced_.emplace(output.id(), true);
    node.outputs.push_back(output.id());
  }
  tape.nodes_.push_back(std::move(node));
}

void Tape::backward(const Tensor& loss) {
  check(loss.numel() == 1, "[backward] expected a scalar loss, got {}", loss.shape().string());
  Tensor one = Tensor::empty(loss.shape(), loss.dtype(), loss.device());
  one.fill(1);
  backward({{loss, one}});
}

void Tape::backward(const std::vector<std::pair<Tensor, Tensor>>& seeds) {
  NoGrad no_grad;
  for (const auto& [tensor, gradient] : seeds) {
    check(produced_.contains(tensor.id()), "[backward] the tensor was not computed on this tape");
    check(gradients_.emplace(tensor.id(), gradient).second, "[backward] a tensor was given twice");
  }
  while (!nodes_.empty()) {
    BackwardContext context(*this, nodes_.size() - 1);
    bool any = false;
    for (size_t i = 0; i < nodes_.back().outputs.size(); ++i)
      any |= context.grad_output(i).defined();
    if (any) nodes_.back().backward(context);
    nodes_.pop_back();
  }
  gradients_.clear();
  produced_.clear();
}

BackwardContext::BackwardContext(Tape& tape, size_t node) : tape_(tape), node_(tape.nodes_[node]) {
  for (const uint64_t id : node_.outputs) {
    auto found = tape_.gradients_.extract(id);
    grad_outputs_.push_back(found.empty() ? Tensor() : std::move(found.mapped()));
  }
}

bool BackwardContext::needs_input(size_t i) const {
  return node_.inputs.at(i).needed;
}

void BackwardContext::write_input(size_t i, const std::function<void(Tensor&)>& write) {
  if (!needs_input(i)) return;
  const Tape::Input& input = node_.inputs[i];
  if (input.leaf.defined() && input.leaf.grad().defined() && input.leaf.grad_is_reset()) {
    Tensor leaf = input.leaf, destination = leaf.grad();
    write(destination);
    leaf.mark_grad_written();
    if (tape_.observer_) tape_.observer_(node_.name, fmt::format("input {}", i), destination);
    return;
  }
  Tensor destination = Tensor::empty(input.shape, input.dtype, input.device, input.block);
  write(destination);
  give_input(i, std::move(destination));
}

void BackwardContext::give_input(size_t i, Tensor gradient) {
  if (!needs_input(i)) return;
  const Tape::Input& input = node_.inputs[i];
  check(gradient.shape() == input.shape && gradient.dtype() == input.dtype &&
            gradient.channel_block() == input.block,
        "[{}] backward made a gradient of {} {} for input {}, expected {} {}", node_.name,
        name_of(gradient.dtype()), gradient.shape().string(), i, name_of(input.dtype),
        input.shape.string());
  if (tape_.observer_) tape_.observer_(node_.name, fmt::format("input {}", i), gradient);
  if (!input.leaf.defined()) {
    auto [place, fresh] = tape_.gradients_.emplace(input.id, gradient);
    if (!fresh) accumulate(place->second, gradient);
    return;
  }
  Tensor leaf = input.leaf, present = leaf.grad();
  if (!present.defined())
    leaf.set_grad(std::move(gradient));
  else if (leaf.grad_is_reset())
    present.copy_from(gradient);
  else
    accumulate(present, gradient);
  leaf.mark_grad_written();
}

}  // namespace frcnn
