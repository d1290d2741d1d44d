#include "apps/train_stages.h"

#include <map>

#include "kernels/launch/check.h"
#include "weights/md5.h"

namespace frcnn::apps {

namespace fs = std::filesystem;

fs::path StageFiles::weights(int stage) const {
  if (stage == TrainStage::kInitial) return root_ / "0-initial.h5";
  return root_ / fmt::format("{}-{}.h5", stage + 1, stages_.at(static_cast<size_t>(stage)).name);
}

fs::path StageFiles::proposals(size_t stage) const {
  return root_ / fmt::format("{}-proposals.h5", stage + 1);
}

void StageFiles::save_weights(int stage, Checkpoint checkpoint) const {
  fs::create_directories(root_);
  for (auto& [name, average] : checkpoint.averages)
    checkpoint.parameters[name] = average;  // what the run's detector has
  checkpoint.averages.clear();
  checkpoint.optimizer.clear();
  checkpoint.training.clear();
  save_checkpoint(weights(stage), checkpoint);
}

void StageFiles::load_into(Trainer& trainer) const {
  const TrainStage& stage = trainer.stage();
  std::map<int, Checkpoint> read;  // a file may give several parts
  for (const auto& [prefix, from] :
       {std::pair("backbone.", stage.backbone_from), std::pair("rpn.", stage.rpn_from),
        std::pair("head.", stage.detector_from)}) {
    auto place = read.find(from);
    if (place == read.end()) place = read.emplace(from, load_checkpoint(weights(from))).first;
    trainer.begin_from({{prefix, &place->second}});
  }
}

std::optional<ProposalSet> StageFiles::proposals_for(size_t number, const Config& config,
                                                     const Dataset& training, Device device) const {
  const TrainStage& stage = stages_.at(number);
  if (!stage.proposals_from) return std::nullopt;
  if (*stage.proposals_from == TrainStage::kInitial)
    return load_proposals_of(config.data.proposals, training);
  const fs::path file = proposals(number);
  if (!fs::exists(file)) {
    const fs::path from = weights(*stage.proposals_from);
    const Checkpoint checkpoint = load_checkpoint(from);
    FasterRcnn model(config.model, static_cast<int64_t>(training.class_names.size()), 1, DType::f32,
                     /*fill=*/false, device);
    load_parameters(model, checkpoint, from.string());
    const auto made =
        propose_all(model, training, config, /*training=*/true, from.filename().string());
    if (!made) return std::nullopt;
    save_proposals(file, *made);
  }
  return load_proposals_of(file, training);
}

std::string backbone_md5(const Checkpoint& checkpoint) {
  Md5 hash;
  for (const TensorMap* part : {&checkpoint.parameters, &checkpoint.buffers})
    for (const auto& [name, tensor] : *part) {
      if (!name.starts_with("backbone.")) continue;
      const Tensor plain = Tensor::empty(tensor.shape(), tensor.dtype());
      Tensor(plain).copy_from(tensor);
      hash.add(name.data(), name.size() + 1);
      hash.add(std::as_const(plain).raw(),
               static_cast<size_t>(plain.numel()) * size_of(plain.dtype()));
    }
  return hash.finish();
}

}  // namespace frcnn::apps
