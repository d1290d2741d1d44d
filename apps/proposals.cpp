#include "apps/proposals.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/batches.h"
#include "apps/dataset_io.h"
#include "apps/stop_signal.h"
#include "apps/terminal.h"
#include "kernels/launch/check.h"
#include "model/faster_rcnn.h"

namespace frcnn::apps {

std::optional<ProposalSet> propose_all(const FasterRcnn& model, const Dataset& dataset,
                                       const Config& config, bool training,
                                       const std::string& source) {
  Loader loader(dataset, inference_settings(config.model.preprocess, config.data));
  Progress progress("propose", static_cast<int64_t>(dataset.images.size()));
  ProposalSet out{source, fingerprint(dataset), {}};
  for (Batch batch = loader.next(); !batch.samples.empty(); batch = loader.next()) {
    if (stop_requested()) return std::nullopt;
    const auto regions = model.regions(to_model_input(batch.samples), training);
    for (size_t n = 0; n < batch.samples.size(); ++n) {
      const Sample& sample = batch.samples[n];
      PictureProposals picture{sample.id, sample.original_width, sample.original_height, {}, {}};
      for (const ScoredBox& region : regions[n]) {
        picture.boxes.push_back(to_picture(region.box, sample));
        picture.scores.push_back(region.score);
      }
      out.pictures.push_back(std::move(picture));
    }
    progress.update(static_cast<int64_t>(out.pictures.size()),
                    fmt::format("{:.1f} images/s",
                                static_cast<double>(out.pictures.size()) / progress.seconds()));
  }
  return out;
}

ProposalSet load_proposals_of(const std::filesystem::path& file, const Dataset& dataset) {
  ProposalSet stored = load_proposals(file);
  std::map<std::string, size_t> places;
  for (size_t i = 0; i < stored.pictures.size(); ++i) places.emplace(stored.pictures[i].id, i);
  ProposalSet out{stored.source, stored.data, {}};
  for (const ImageRecord& image : dataset.images) {
    const auto found = places.find(image.id);
    check(found != places.end(),
          "{}: holds no proposals of picture {} ({} has {} pictures, the file {}); make them with "
          "`frcnn propose`",
          file.string(), image.id, dataset.name, dataset.images.size(), stored.pictures.size());
    const PictureProposals& picture = stored.pictures[found->second];
    check(picture.width == image.width && picture.height == image.height,
          "{}: picture {} is {} x {} there, but {} x {} in {}", file.string(), image.id,
          picture.width, picture.height, image.width, image.height, dataset.name);
    out.pictures.push_back(picture);
  }
  return out;
}

std::vector<std::vector<Box>> to_regions(const std::vector<Sample>& samples,
                                         const ProposalSet& proposals) {
  std::vector<std::vector<Box>> regions;
  for (const Sample& sample : samples) {
    const PictureProposals& picture = proposals.pictures.at(static_cast<size_t>(sample.index));
    std::vector<Box>& boxes = regions.emplace_back();
    for (const Box& box : picture.boxes) boxes.push_back(to_input(box, sample));
  }
  return regions;
}

ProposalRecall recall_of(const Dataset& dataset, const ProposalSet& proposals) {
  std::vector<std::vector<Box>> boxes;
  for (const PictureProposals& picture : proposals.pictures) boxes.push_back(picture.boxes);
  return evaluate_proposals(dataset, boxes);
}

std::string recall_table(const ProposalRecall& recall) {
  std::string text = fmt::format(
      "recall of {} objects, {:.1f} proposals per picture\n{:>9} {:>10} {:>10} {:>15}\n",
      recall.objects, recall.boxes_per_picture, "proposals", "IoU >= 0.5", "IoU >= 0.7",
      "0.5:0.95 (AR)");
  for (const RecallAt& at : recall.at)
    text += fmt::format("{:>9} {:>10.4f} {:>10.4f} {:>15.4f}\n", at.proposals, at.recall50,
                        at.recall70, at.average);
  return text;
}

std::string recall_json(const ProposalRecall& recall) {
  nlohmann::ordered_json json = {{"objects", recall.objects},
                                 {"proposals_per_picture", recall.boxes_per_picture},
                                 {"recall", nlohmann::ordered_json::array()}};
  for (const RecallAt& at : recall.at)
    json["recall"].push_back({{"proposals", at.proposals},
                              {"recall_50", at.recall50},
                              {"recall_70", at.recall70},
                              {"average_recall", at.average}});
  return json.dump(2) + "\n";
}

}  // namespace frcnn::apps
