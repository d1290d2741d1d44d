#include "apps/train_data.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/data_card.h"
#include "apps/dataset_io.h"
#include "data/files.h"
#include "data/formats.h"
#include "kernels/launch/check.h"
#include "model/options.h"

namespace frcnn::apps {
namespace fs = std::filesystem;
namespace {

nlohmann::ordered_json source_list(const std::vector<std::string>& sources) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const std::string& source : sources) list.push_back(fs::absolute(source).string());
  if (list.size() == 1) return list.front();
  return list;
}

}  // namespace

void add_data_sources(nlohmann::ordered_json& info, const DataSources& sources) {
  info["data"] = source_list(sources.training);
  if (!sources.validation.empty()) info["val_data"] = source_list(sources.validation);
}

DataSources data_sources(const RunFolder& folder, const std::vector<std::string>& data,
                         const std::vector<std::string>& val_data) {
  if (!data.empty()) return {data, val_data};
  if (!fs::exists(folder.info())) throw UsageError("train needs --data DIR");
  try {
    const auto info = nlohmann::json::parse(read_text(folder.info()));
    const auto names = [&](const char* key) -> std::vector<std::string> {
      if (std::string(key) == "val_data" && !info.contains(key)) return {};
      if (info.at(key).is_string()) return {info.at(key).get<std::string>()};
      return info.at(key).get<std::vector<std::string>>();
    };
    return {names("data"), names("val_data")};
  } catch (const nlohmann::json::exception& error) {
    fail("{}: does not name the data set (give --data): {}", folder.info().string(), error.what());
  }
}

Dataset open_training(const std::vector<std::string>& sources, const Config& config, bool strict) {
  OpenOptions options;
  options.strict = strict;
  Dataset training = open_dataset(sources, split_or_usual(sources, "", config.data.train_split),
                                  config.data, options);
  require_not_empty(training, true);
  return training;
}

Dataset open_validation(const DataSources& sources, const Config& config, const Dataset& training,
                        bool strict) {
  DataConfig data = config.data;
  data.classes = training.class_names;
  OpenOptions options;
  options.strict = strict;
  if (!sources.validation.empty())
    return open_dataset(sources.validation, split_or_usual(sources.validation, "", data.val_split),
                        data, options);
  for (const std::string& source : sources.training)
    if (is_single_split(source) && data.val_split.find(',') == std::string::npos)
      throw UsageError(fmt::format(
          "{}: is one split by itself and holds no '{}' to validate on; give --val-data, or set "
          "data.val_split=\"\"",
          source, data.val_split));
  return open_dataset(sources.training, data.val_split, data, options);
}

std::string complete_data_card(const RunFolder& folder) {
  if (fs::exists(folder.dataset()) || !fs::exists(folder.info())) return "";
  try {
    const Config config = load_config(folder.config());
    const DataSources sources = data_sources(folder, {}, {});
    const Dataset training = open_training(sources.training, config, /*strict=*/false);
    std::vector<CardSplit> splits = {{config.data.train_split, sources.training, &training}};
    Dataset validation;
    if (!config.data.val_split.empty()) {
      validation = open_validation(sources, config, training, /*strict=*/false);
      splits.push_back({config.data.val_split,
                        sources.validation.empty() ? sources.training : sources.validation,
                        &validation});
    }
    auto card = nlohmann::ordered_json::parse(data_card(splits, nullptr));
    card["later"] = true;
    write_file(folder.dataset(), std::string_view(card.dump(1) + "\n"));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace frcnn::apps
