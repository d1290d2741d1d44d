// A training pass on a GPU: inputs are copied to fixed places on the device, then the whole pass is
// one recorded step. Losses add up on the device until somebody asks.
#include <array>
#include <bit>
#include <cmath>
#include <map>

#include "engine/dispatch.h"
#include "engine/recorded_step.h"
#include "engine/tape.h"
#include "engine/uploader.h"
#include "kernels/elementwise/elementwise.h"
#include "model/batch_parts.h"
#include "model/gpu_pipeline.h"
#include "model/trainer.h"

namespace frcnn {
namespace {

constexpr std::array kLossNames = {"total", "rpn_class", "rpn_box", "roi_class", "roi_box"};

/// The places on the device that a pass of one size reads.
struct PassInputs {
  Tensor images, limits;
  GpuTruth truth;
  GpuProposals regions;         ///< undefined: the RPN's
  std::vector<Tensor> written;  ///< parameters whose gradients the pass writes
};

/// A replay leaves the host's notes on gradients as they were: this brings them up to date.
void note_gradients(const Parameters& parameters, std::vector<Tensor>& written) {
  if (written.empty())
    for (const Parameter& p : parameters.all())
      if (p.trainable() && p.tensor.grad() && !p.tensor.grad_is_reset())
        written.push_back(p.tensor);
  for (Tensor& tensor : written) tensor.mark_grad_written();
}

/// Room for objects: few different sizes, so that few steps are recorded.
int64_t truth_capacity(const std::vector<GroundTruth>& truth) {
  size_t most = 8;
  for (const GroundTruth& objects : truth) most = std::max(most, objects.boxes.size());
  return static_cast<int64_t>(std::bit_ceil(most));
}

}  // namespace

struct Trainer::GpuState {
  explicit GpuState(Device device)
      : steps(device),
        uploader(device),
        pass(Tensor::zeros({1}, DType::i64, device)),
        share(Tensor::zeros({1}, DType::f64, device)),
        sums(Tensor::zeros({static_cast<int64_t>(kLossNames.size())}, DType::f64, device)) {}
  RecordedSteps steps;
  Uploader uploader;
  std::map<std::string, PassInputs> inputs;
  Tensor pass;   ///< number of the pass, for random numbers
  Tensor share;  ///< of the batch's images that are in the pass: the factor of its losses
  Tensor sums;   ///< of the losses of `passes` passes, in the order of kLossNames
  int64_t passes = 0, updates_before = 0;
};

std::shared_ptr<Trainer::GpuState> Trainer::make_gpu_state(Device device) {
  return std::make_shared<GpuState>(device);
}

void Trainer::gpu_accumulate(const ModelInput& input, const std::vector<GroundTruth>& truth) {
  check(truth.size() == input.sizes.size() && input.images.rank() == 4 &&
            input.images.dim(0) == static_cast<int64_t>(truth.size()),
        "[train] expected images (N, 3, H, W) with N sizes and N lists of objects, got {}, {}, {}",
        input.images.shape().string(), input.sizes.size(), truth.size());
  const auto pass = static_cast<uint64_t>(pass_number());
  if (gpu_->passes == 0) gpu_->updates_before = steps();
  for (const BatchPart& part : batch_parts(input)) {
    const size_t count = part.input.sizes.size();
    const auto begin = truth.begin() + static_cast<std::ptrdiff_t>(part.first);
    gpu_part(part.input, {begin, begin + static_cast<std::ptrdiff_t>(count)},
             pass_of_part(pass, part.first),
             static_cast<double>(count) / static_cast<double>(truth.size()),
             /*first=*/passes_ == 0 && part.first == 0);
  }
  ++passes_;
  ++gpu_->passes;
}

void Trainer::gpu_part(const ModelInput& input, const std::vector<GroundTruth>& truth,
                       uint64_t number, double share_of_batch, bool first) {
  GpuState& state = *gpu_;
  const Device device = model_->device();
  const DType dtype = model_->parameters().dtype();
  const int64_t capacity = truth_capacity(truth);
  // The first pass of an update writes gradients, the others add to them: two recordings.
  const int64_t regions = input.regions.empty() ? 0 : region_capacity(input.regions);
  const std::string key = fmt::format("{} {} {} {}", input.images.shape().string(), capacity,
                                      regions, first ? "first" : "more");
  const Device host;
  const Tensor images = input.images.to(dtype);
  const Tensor limits = image_limits(input.sizes, config_.model.rpn.train.min_size, dtype, host);
  const GpuTruth objects = truth_tensors(truth, capacity, dtype, host);
  const Tensor pass =
      Tensor::from<int64_t>({1}, std::vector<int64_t>{static_cast<int64_t>(number)});
  const Tensor share = Tensor::from<double>({1}, std::vector<double>{share_of_batch});
  GpuProposals given;
  if (regions > 0) given = given_gpu_proposals(input.regions, regions, dtype, host);
  const auto [place, fresh] = state.inputs.try_emplace(key);
  PassInputs& inputs = place->second;
  if (fresh) {
    const auto like = [&](const Tensor& x) { return Tensor::empty(x.shape(), x.dtype(), device); };
    inputs = {like(images),
              like(limits),
              {like(objects.boxes), like(objects.classes), like(objects.counts)},
              {},
              {}};
    if (regions > 0) inputs.regions = {like(given.boxes), like(given.counts)};
  }
  std::vector<std::pair<const Tensor*, Tensor*>> copies = {
      {&images, &inputs.images},
      {&limits, &inputs.limits},
      {&objects.boxes, &inputs.truth.boxes},
      {&objects.classes, &inputs.truth.classes},
      {&objects.counts, &inputs.truth.counts},
      {&pass, &state.pass},
      {&share, &state.share}};
  if (regions > 0) {
    copies.emplace_back(&given.boxes, &inputs.regions.boxes);
    copies.emplace_back(&given.counts, &inputs.regions.counts);
  }
  size_t bytes = 0;
  for (const auto& [from, to] : copies) bytes += Uploader::rounded(from->stored_bytes());
  state.uploader.begin(bytes);
  for (const auto& [from, to] : copies) state.uploader.copy(*from, *to);
  state.uploader.end();

  state.steps.run(key, [&] {
    Tape tape;
    Losses losses;
    {
      const Tape::Scope recording(tape);
      losses = model_->gpu_losses(inputs.images, inputs.limits, inputs.truth,
                                  {config_.train.seed, 0, state.pass}, stage_.parts,
                                  regions > 0 ? &inputs.regions : nullptr);
    }
    const Tensor* const terms[] = {&losses.total, &losses.rpn_class, &losses.rpn_box,
                                   &losses.roi_class, &losses.roi_box};
    Tensor seed = Tensor::empty({1}, DType::f64, device);  // the walk may overwrite it
    for (size_t i = 0; i < kLossNames.size(); ++i) {
      FRCNN_CALL(device, multiply, 1, terms[i]->data<double>(), state.share.data<double>(),
                 seed.data<double>());
      FRCNN_CALL(device, axpy, 1, 1.0, seed.data<double>(), state.sums.data<double>() + i);
    }
    seed.copy_from(state.share);
    tape.backward({{losses.total, seed}});
  });
  note_gradients(model_->parameters(), inputs.written);
}

StepStats Trainer::collect() {
  StepStats stats;
  stats.updates = 0;
  if (!gpu_ || gpu_->passes == 0) return stats;
  GpuState& state = *gpu_;
  const std::vector<double> sums = state.sums.to_vector<double>();
  for (size_t i = 0; i < kLossNames.size(); ++i)
    if (!std::isfinite(sums[i]))
      throw NonFiniteError(fmt::format(
          "[train] steps {} to {}: the loss {} is {}; lower optimizer.lr or look at the data of "
          "these steps",
          state.updates_before + 1, steps(), kLossNames[i], sums[i]));
  try {
    optimizer_.check_device();
  } catch (const Error& error) {
    throw NonFiniteError(error.what());
  }
  kept_.clear();
  double* const values[] = {&stats.total, &stats.rpn_class, &stats.rpn_box, &stats.roi_class,
                            &stats.roi_box};
  for (size_t i = 0; i < kLossNames.size(); ++i)
    *values[i] = sums[i] / static_cast<double>(state.passes);
  stats.step = steps();
  stats.updates = steps() - state.updates_before;
  stats.grad_norm = optimizer_.last_grad_norm();
  state.sums.fill(0);
  state.passes = 0;
  return stats;
}

}  // namespace frcnn
