#include "apps/metrics_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/evaluation_text.h"
#include "apps/proposals.h"
#include "data/files.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {

using Json = nlohmann::ordered_json;

namespace {

/// Lists of entries that have a step each; "proposals" is there only when something is in it.
constexpr const char* kLists[] = {"validations", "proposals"};

Json read(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return {{"validations", Json::array()}};
  Json content;
  try {
    content = Json::parse(read_text(path));
  } catch (const Json::parse_error& error) {
    fail("{}: is not valid JSON: {}", path.string(), error.what());
  }
  const bool sound =
      content.is_object() && content.contains("validations") && content["validations"].is_array();
  check(sound, "{}: expected an object with a list 'validations'", path.string());
  for (const char* list : kLists)
    for (const Json& entry : content.value(list, Json::array()))
      check(entry.is_object() && entry.contains("step") && entry["step"].is_number_integer(),
            "{}: a validation has no step", path.string());
  return content;
}

/// Losses by their names in metrics.json and in logs.
struct LossName {
  const char *key, *column;
  double StepStats::*value;
};
constexpr LossName kLosses[] = {{"total", "loss", &StepStats::total},
                                {"rpn_class", "loss_rpn_class", &StepStats::rpn_class},
                                {"rpn_box", "loss_rpn_box", &StepStats::rpn_box},
                                {"roi_class", "loss_roi_class", &StepStats::roi_class},
                                {"roi_box", "loss_roi_box", &StepStats::roi_box}};

Json losses_json(const StepStats& losses) {
  Json json;
  for (const LossName& loss : kLosses) json[loss.key] = losses.*loss.value;
  return json;
}

/// The content as a table.
std::string csv(const Json& content) {
  std::vector<Json> entries;
  for (const char* list : kLists)
    for (const Json& entry : content.value(list, Json::array())) entries.push_back(entry);
  std::stable_sort(entries.begin(), entries.end(), [](const Json& a, const Json& b) {
    return a["step"].get<int64_t>() < b["step"].get<int64_t>();
  });
  const auto cell = [](const Json& value) {
    return value.is_number() ? fmt::format(",{:.6g}", value.get<double>()) : std::string(",");
  };
  std::string text = "step,epoch";
  for (const LossName& loss : kLosses) text += fmt::format(",{}", loss.column);
  text += ",map_area,map_voc07_11point,recall_50,recall_70\n";
  for (const Json& entry : entries) {
    const auto member = [](const Json& json, const char* key) { return json.value(key, Json()); };
    text += entry["step"].dump() + cell(member(entry, "epoch"));
    const Json losses = entry.value("losses", Json::object());
    for (const LossName& loss : kLosses) text += cell(member(losses, loss.key));
    text += cell(member(entry, "map_area")) + cell(member(entry, "map_voc07_11point"));
    const Json recall = entry.value("recall", Json::array());
    const Json most = recall.empty() ? Json::object() : recall.back();
    text += cell(member(most, "recall_50")) + cell(member(most, "recall_70")) + "\n";
  }
  return text;
}

void write(const std::filesystem::path& path, const Json& content) {
  write_file(path, std::string_view(content.dump(2) + "\n"));
  write_file(path.parent_path() / "validation.csv", std::string_view(csv(content)));
}

/// Adds an entry to a list in the place of one of the same step.
void put(const std::filesystem::path& path, const char* list, Json entry) {
  Json content = read(path);
  Json kept = Json::array();
  for (const Json& other : content.value(list, Json::array()))
    if (other["step"] != entry["step"]) kept.push_back(other);
  kept.push_back(std::move(entry));
  content[list] = std::move(kept);
  write(path, content);
}

}  // namespace

std::string MetricsFile::text() const {
  return read(path_).dump(2) + "\n";
}

bool MetricsFile::has(int64_t step) const {
  const Json content = read(path_);
  for (const char* list : kLists)
    for (const Json& entry : content.value(list, Json::array()))
      if (entry["step"] == step) return true;
  return false;
}

void MetricsFile::add(int64_t step, double epoch, const std::string& split, int64_t images,
                      const EvaluationResult& result, const std::optional<StepStats>& losses) {
  Json entry = {{"step", step}, {"epoch", epoch}, {"split", split}, {"images", images}};
  if (losses) entry["losses"] = losses_json(*losses);
  entry.update(Json::parse(evaluation_json(result)));
  put(path_, "validations", std::move(entry));
}

void MetricsFile::add_recall(int64_t step, double epoch, const std::string& split, int64_t images,
                             const std::string& stage, const ProposalRecall& recall,
                             const std::optional<StepStats>& losses) {
  Json entry = {
      {"step", step}, {"epoch", epoch}, {"split", split}, {"images", images}, {"stage", stage}};
  if (losses) entry["losses"] = losses_json(*losses);
  entry.update(Json::parse(recall_json(recall)));
  put(path_, "proposals", std::move(entry));
}

void MetricsFile::cut_after(int64_t step) {
  Json content = read(path_);
  bool changed = false;
  for (const char* list : kLists) {
    if (!content.contains(list)) continue;
    Json kept = Json::array();
    for (const Json& entry : content[list])
      if (entry["step"].get<int64_t>() <= step) kept.push_back(entry);
    changed = changed || kept.size() != content[list].size();
    content[list] = std::move(kept);
  }
  if (changed) write(path_, content);
}

}  // namespace frcnn::apps
