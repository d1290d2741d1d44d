#include "apps/data_card.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/dataset_io.h"
#include "data/doctor.h"

namespace frcnn::apps {
namespace {

using Json = nlohmann::ordered_json;

Json split_json(const CardSplit& card) {
  const Dataset& set = *card.set;
  const DatasetSummary summary = summarise(set);
  const std::vector<SizeHistogram> sizes = size_histograms(set);
  SizeHistogram all{};
  Json classes = Json::array();
  for (size_t k = 0; k < summary.classes.size(); ++k) {
    const DatasetSummary::Class& c = summary.classes[k];
    for (size_t bin = 0; bin < all.size(); ++bin) all[bin] += sizes[k][bin];
    classes.push_back({{"name", c.name},
                       {"objects", c.boxes},
                       {"images", c.images},
                       {"difficult", c.difficult},
                       {"truncated", c.truncated},
                       {"crowds", c.crowds},
                       {"sizes", sizes[k]}});
  }
  Json sources = Json::array();
  for (const std::string& source : card.sources)
    sources.push_back(std::filesystem::absolute(source).lexically_normal().string());
  return {{"split", card.split},
          {"sources", std::move(sources)},
          {"fingerprint", fingerprint(set)},
          {"images", summary.images},
          {"images_without_objects", summary.images_without_objects},
          {"objects", summary.boxes},
          {"difficult", summary.difficult},
          {"truncated", summary.truncated},
          {"crowds", summary.crowds},
          {"repaired", summary.repaired},
          {"left_out", summary.left_out},
          {"width", {summary.min_width, summary.max_width}},
          {"height", {summary.min_height, summary.max_height}},
          {"box_size", summary.box_size},
          {"box_ratio", summary.box_ratio},
          {"sizes", all},
          {"classes", std::move(classes)}};
}

Json coverage_json(const ClassCoverage& c) {
  return {{"objects", c.objects},
          {"recall_50", c.recall_50()},
          {"recall_70", c.recall_70()},
          {"mean_best_iou", c.mean_best()}};
}

}  // namespace

std::string data_card(const std::vector<CardSplit>& splits, const AnchorCoverage* coverage) {
  Json card;
  card["size_limits"] = kSizeLimits;
  card["splits"] = Json::array();
  for (const CardSplit& split : splits) card["splits"].push_back(split_json(split));
  if (coverage) {
    Json classes = Json::array();
    for (const ClassCoverage& c : coverage->classes) classes.push_back(coverage_json(c));
    card["anchors"] = {{"all", coverage_json(coverage->all)}, {"classes", std::move(classes)}};
  }
  return card.dump(1) + "\n";
}

}  // namespace frcnn::apps
