#include "apps/metrics_file.h"

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

void write(const std::filesystem::path& path, const Json& content) {
  write_file(path, std::string_view(content.dump(2) + "\n"));
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
                      const EvaluationResult& result) {
  Json entry = {{"step", step}, {"epoch", epoch}, {"split", split}, {"images", images}};
  entry.update(Json::parse(evaluation_json(result)));
  put(path_, "validations", std::move(entry));
}

void MetricsFile::add_recall(int64_t step, double epoch, const std::string& split, int64_t images,
                             const std::string& stage, const ProposalRecall& recall) {
  Json entry = {
      {"step", step}, {"epoch", epoch}, {"split", split}, {"images", images}, {"stage", stage}};
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
