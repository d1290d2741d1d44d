#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/parameters.h"
#include "engine/recorded_step.h"
#include "engine/schedule.h"
#include "engine/uploader.h"
#include "kernels/launch/finite_flag.h"

namespace frcnn {

/// Rule and rates of one parameter group. Update equations: kernels/optim/sgd.h (sgd, nesterov) and
/// adam.h (adam, and adamw with decoupled weight decay).
struct GroupSettings {
  enum class Method : uint8_t { sgd, nesterov, adam, adamw };
  Method method = Method::sgd;
  Schedule schedule;
  double lr_factor = 1;   ///< times schedule.at(step): 2 for biases in the paper's code
  double momentum = 0.9;  ///< adam: beta1
  double weight_decay = 0.0005;
  double beta2 = 0.999, epsilon = 1e-8;

  /// Two moments per weight instead of one velocity.
  bool has_moments() const { return method == Method::adam || method == Method::adamw; }
};

const char* name_of(GroupSettings::Method method);
/// "sgd", "nesterov", "adam" or "adamw"; UsageError naming `key` for other words.
GroupSettings::Method method_by_name(const std::string& name, const std::string& key);

/// Updates groups of parameters. Values, gradients and optimiser state of a group each lie in one
/// flat bucket (every parameter padded to 64 bytes), so that an update is one pass over three or
/// four arrays and gradients can be averaged between processes bucket by bucket.
class Optimizer {
 public:
  /// Moves the trainable parameters among `parameters` into a new bucket. Order is kept.
  void add_group(const std::string& name, const std::vector<Parameter>& parameters,
                 const GroupSettings& settings);

  /// From now on keeps an exponential moving average of the weights of all groups so far
  /// (kernels/optim/ema.h), which begins with what they are and is updated by step(). `decay` is
  /// above 0 and below 1.
  void keep_averages(double decay);
  /// The averages by name of the parameter, views; empty unless they are kept.
  std::vector<std::pair<std::string, Tensor>> averages() const;
  /// Exchanges the weights and their averages: twice is nothing. In between, step() must not be
  /// called.
  void swap_averages();

  /// Declares all gradients void; the next backward pass overwrites them.
  void zero_grad();
  /// One update with gradients multiplied by `grad_scale` (1 / number of accumulated passes). With
  /// clip_norm > 0 they are scaled down together when the L2 norm of all of them exceeds it. Throws
  /// Error naming the parameter when a gradient is not finite; nothing is changed then.
  ///
  /// On a GPU nothing waits for an answer: an element whose gradient is not finite stays as it is,
  /// later updates change nothing any more, and check_device() tells. From the second update on its
  /// launches are started as one recorded graph.
  void step(double grad_scale = 1, double clip_norm = 0);
  /// Throws Error naming the parameter and the step when a gradient was not finite. Waits for the
  /// device; nothing on the CPU.
  void check_device() const;
  /// Updates done so far.
  int64_t steps() const { return step_; }
  void set_steps(int64_t steps) { step_ = steps; }
  /// Effective rate of a group at the coming step, by name, for logs.
  std::vector<std::pair<std::string, double>> learning_rates() const;
  /// Rules of the groups by name, for summaries.
  std::vector<std::pair<std::string, GroupSettings>> settings() const;

  /// Momenta by name ("momentum.<parameter>", adam and adamw: "moment1." and "moment2."): views
  /// into the buckets, for checkpoints.
  std::vector<std::pair<std::string, Tensor>> state() const;
  /// L2 norm of all gradients at the last step, before scaling down; 0 unless clip_norm was given.
  /// On a GPU it waits for the device.
  double last_grad_norm() const;

 private:
  struct Group {
    std::string name;
    GroupSettings settings;
    std::vector<Parameter> parameters;
    Tensor values, gradients, state1, state2;
    Tensor average;  // undefined unless it is kept
    std::vector<int64_t> offsets;
  };
  void check_finite() const;
  bool on_gpu() const;
  void gpu_step(double grad_scale, double clip_norm);
  void launch_update(double clip_norm);
  std::vector<kernels::FiniteCheck> finite_checks();
  std::vector<Group> groups_;
  double average_decay_ = 0;
  int64_t step_ = 0;
  double last_norm_ = 0;
  // On a GPU: kernels::StepScalars of each group, its sum of squared gradients, the norm, the
  // kernels::FiniteFlag, and scratch memory, made at the first step.
  Tensor scalars_, squares_, norm_, flag_, workspace_;
  std::shared_ptr<Uploader> uploader_;
  std::shared_ptr<RecordedSteps> updates_;
};

}  // namespace frcnn
