#include "apps/metrics_file.h"

#include <nlohmann/json.hpp>

#include "apps/evaluation_text.h"
#include "data/files.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {

using Json = nlohmann::ordered_json;

Json MetricsFile::read() const {
  if (!std::filesystem::exists(path_)) return {{"validations", Json::array()}};
  Json content;
  try {
    content = Json::parse(read_text(path_));
  } catch (const Json::parse_error& error) {
    fail("{}: is not valid JSON: {}", path_.string(), error.what());
  }
  const bool sound =
      content.is_object() && content.contains("validations") && content["validations"].is_array();
  check(sound, "{}: expected an object with a list 'validations'", path_.string());
  for (const Json& entry : content["validations"])
    check(entry.is_object() && entry.contains("step") && entry["step"].is_number_integer(),
          "{}: a validation has no step", path_.string());
  return content;
}

void MetricsFile::write(const Json& content) const {
  write_file(path_, std::string_view(content.dump(2) + "\n"));
}

bool MetricsFile::has(int64_t step) const {
  const Json content = read();
  for (const Json& entry : content["validations"])
    if (entry["step"] == step) return true;
  return false;
}

void MetricsFile::add(int64_t step, double epoch, const std::string& split, int64_t images,
                      const EvaluationResult& result) {
  Json content = read();
  Json entry = {{"step", step}, {"epoch", epoch}, {"split", split}, {"images", images}};
  entry.update(evaluation_json(result));
  Json kept = Json::array();
  for (const Json& other : content["validations"])
    if (other["step"] != step) kept.push_back(other);
  kept.push_back(std::move(entry));
  content["validations"] = std::move(kept);
  write(content);
}

void MetricsFile::cut_after(int64_t step) {
  Json content = read();
  Json kept = Json::array();
  for (const Json& entry : content["validations"])
    if (entry["step"].get<int64_t>() <= step) kept.push_back(entry);
  if (kept.size() == content["validations"].size()) return;
  content["validations"] = std::move(kept);
  write(content);
}

}  // namespace frcnn::apps
