#include "apps/metrics_file.h"

#include <nlohmann/json.hpp>

#include "apps/evaluation_text.h"
#include "data/files.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {

using Json = nlohmann::ordered_json;

namespace {

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
  for (const Json& entry : content["validations"])
    check(entry.is_object() && entry.contains("step") && entry["step"].is_number_integer(),
          "{}: a validation has no step", path.string());
  return content;
}

void write(const std::filesystem::path& path, const Json& content) {
  write_file(path, std::string_view(content.dump(2) + "\n"));
}

}  // namespace

std::string MetricsFile::text() const {
  return read(path_).dump(2) + "\n";
}

bool MetricsFile::has(int64_t step) const {
  const Json content = read(path_);
  for (const Json& entry : content["validations"])
    if (entry["step"] == step) return true;
  return false;
}

void MetricsFile::add(int64_t step, double epoch, const std::string& split, int64_t images,
                      const EvaluationResult& result) {
  Json content = read(path_);
  Json entry = {{"step", step}, {"epoch", epoch}, {"split", split}, {"images", images}};
  entry.update(Json::parse(evaluation_json(result)));
  Json kept = Json::array();
  for (const Json& other : content["validations"])
    if (other["step"] != step) kept.push_back(other);
  kept.push_back(std::move(entry));
  content["validations"] = std::move(kept);
  write(path_, content);
}

void MetricsFile::cut_after(int64_t step) {
  Json content = read(path_);
  Json kept = Json::array();
  for (const Json& entry : content["validations"])
    if (entry["step"].get<int64_t>() <= step) kept.push_back(entry);
  if (kept.size() == content["validations"].size()) return;
  content["validations"] = std::move(kept);
  write(path_, content);
}

}  // namespace frcnn::apps
