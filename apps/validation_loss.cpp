#include "apps/validation_loss.h"

#include "apps/batches.h"
#include "apps/proposals.h"
#include "apps/stop_signal.h"
#include "apps/terminal.h"
#include "apps/training_log.h"

namespace frcnn::apps {
namespace {

/// Passes of a training are far below.
constexpr uint64_t kFirstPass = uint64_t{1} << 39;

}  // namespace

std::optional<StepStats> validation_losses(const FasterRcnn& model, const Dataset& dataset,
                                           const Config& config, LossParts parts,
                                           const ProposalSet* proposals) {
  parts.evaluation = true;
  parts.proposal_gradients = false;  // without a tape there are none
  Loader loader(dataset, inference_settings(config.model.preprocess, config.data));
  Progress progress("loss", static_cast<int64_t>(dataset.images.size()));
  LogWindow sums;
  for (Batch batch = loader.next(); !batch.samples.empty(); batch = loader.next()) {
    if (stop_requested()) return std::nullopt;
    ModelInput input = to_model_input(batch.samples);
    if (proposals) input.regions = to_regions(batch.samples, *proposals);
    const PassKey key{config.train.seed, kFirstPass + static_cast<uint64_t>(sums.updates)};
    const Losses losses = model.losses(
        input, to_ground_truth(batch.samples, config.data.use_difficult), key, nullptr, parts);
    StepStats picture;
    picture.total = losses.total.item();
    picture.rpn_class = losses.rpn_class.item();
    picture.rpn_box = losses.rpn_box.item();
    picture.roi_class = losses.roi_class.item();
    picture.roi_box = losses.roi_box.item();
    sums.add(picture);
    progress.update(sums.updates,
                    fmt::format("loss {:.4f}", sums.total / static_cast<double>(sums.updates)));
  }
  return sums.mean();
}

}  // namespace frcnn::apps
