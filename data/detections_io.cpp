#include "data/detections_io.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "data/files.h"
#include "kernels/launch/check.h"

namespace frcnn {
namespace fs = std::filesystem;
using nlohmann::json;
namespace {

std::string quoted(const std::string& text) {
  return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string image_id(const ImageRecord& image) {
  return image.number >= 0 ? fmt::format("{}", image.number) : quoted(image.id);
}

std::string without_zeros(const std::string& digits) {
  const size_t first = digits.find_first_not_of('0');
  return first == std::string::npos ? "0" : digits.substr(first);
}

/// Finds pictures and classes by the names a results file may use.
class Names {
 public:
  explicit Names(const Dataset& dataset) : dataset_(dataset) {
    for (size_t i = 0; i < dataset.images.size(); ++i) {
      const ImageRecord& image = dataset.images[i];
      const auto index = static_cast<int64_t>(i);
      if (image.number >= 0) numbers_.emplace(image.number, index);
      images_.emplace(image.id, index);
      if (!image.path.empty()) images_.emplace(image.path.filename().string(), index);
      if (image.id.find_first_not_of("0123456789") == std::string::npos)
        images_.emplace(without_zeros(image.id), index);
    }
    for (size_t i = 0; i < dataset.class_names.size(); ++i)
      classes_.emplace(dataset.class_names[i], static_cast<int>(i));
  }

  /// Position of a picture, -1 where there is none of that number or name.
  int64_t find_image(int64_t number) const {
    const auto found = numbers_.find(number);
    return found != numbers_.end() ? found->second : find_image(std::to_string(number));
  }
  int64_t find_image(const std::string& name) const {
    const auto found = images_.find(name);
    return found != images_.end() ? found->second : -1;
  }
  /// A class's label, -1 where there is none of that name.
  int find_class(const std::string& name) const {
    const auto found = classes_.find(name);
    return found != classes_.end() ? found->second : -1;
  }
  int find_category(int64_t id) const {
    const auto& ids = dataset_.category_ids;
    if (ids.empty()) return id >= 1 && id <= std::ssize(dataset_.class_names) ? int(id - 1) : -1;
    const auto found = std::find(ids.begin(), ids.end(), id);
    return found != ids.end() ? static_cast<int>(found - ids.begin()) : -1;
  }

  int64_t image(const json& id, const std::string& place) const {
    const int64_t found = id.is_number_integer()
                              ? find_image(id.get<int64_t>())
                              : find_image(id.is_string() ? id.get<std::string>() : id.dump());
    check(found >= 0, "{}: image_id {} is no picture of {}", place, id.dump(), dataset_.name);
    return found;
  }

  int label(const json& entry, const std::string& place) const {
    if (entry.contains("category_name")) {
      const json& name = entry["category_name"];
      const int found = name.is_string() ? find_class(name.get<std::string>()) : -1;
      check(found >= 0, "{}: category_name {} is not one of {}", place, name.dump(),
            fmt::join(dataset_.class_names, ", "));
      return found;
    }
    const json id = entry.value("category_id", json());
    const int found = id.is_number_integer() ? find_category(id.get<int64_t>()) : -1;
    const auto& ids = dataset_.category_ids;
    if (found < 0 && !ids.empty())
      fail("{}: category_id {} is none of {}", place, id.dump(), fmt::join(ids, ", "));
    check(found >= 0, "{}: expected category_id of 1 to {}, found {}", place,
          dataset_.class_names.size(), id.dump());
    return found;
  }

 private:
  const Dataset& dataset_;
  std::map<std::string, int64_t> images_;
  std::map<int64_t, int64_t> numbers_;  // COCO's
  std::map<std::string, int> classes_;
};

Detection read_entry(const json& entry, const Names& names, const std::string& place) {
  check(entry.is_object(), "{}: expected an object, found {}", place, entry.type_name());
  check(entry.contains("image_id"), "{}: expected key 'image_id', found none", place);
  const json score = entry.value("score", json()), box = entry.value("bbox", json());
  check(score.is_number(), "{}: expected a number as 'score', found {}", place, score.dump());
  const bool four =
      box.is_array() && box.size() == 4 &&
      std::all_of(box.begin(), box.end(), [](const json& v) { return v.is_number(); });
  check(four, "{}: expected 'bbox' of 4 numbers [x, y, width, height], found {}", place,
        box.dump());
  Detection detection;
  detection.image = names.image(entry["image_id"], place);
  detection.label = names.label(entry, place);
  detection.score = score.get<float>();
  const auto x = box[0].get<double>(), y = box[1].get<double>();
  const auto w = box[2].get<double>(), h = box[3].get<double>();
  check(w >= 0 && h >= 0, "{}: expected a width and height of at least 0 in 'bbox', found {}",
        place, box.dump());
  detection.box = {static_cast<float>(x), static_cast<float>(y), static_cast<float>(x + w),
                   static_cast<float>(y + h)};
  return detection;
}

/// One detection by the streaming parser; false where it is not of the usual form.
bool read_fields(simdjson::ondemand::object entry, const Names& names, Detection& out) {
  out = {-1, -1, 0, {}};
  bool scored = false, boxed = false, named = false;
  for (auto field : entry) {
    const std::string_view key = std::string_view(field.unescaped_key());
    simdjson::ondemand::value value = field.value();
    if (key == "bbox") {
      std::array<double, 4> box{};
      size_t count = 0;
      for (auto number : value.get_array()) {
        if (count == 4) return false;
        box[count++] = double(number);
      }
      if (count != 4 || !(box[2] >= 0 && box[3] >= 0)) return false;
      out.box = {static_cast<float>(box[0]), static_cast<float>(box[1]),
                 static_cast<float>(box[0] + box[2]), static_cast<float>(box[1] + box[3])};
      boxed = true;
    } else if (key == "score") {
      out.score = static_cast<float>(double(value));
      scored = true;
    } else if (key == "image_id") {
      const bool text = value.type() == simdjson::ondemand::json_type::string;
      out.image = text ? names.find_image(std::string(std::string_view(value)))
                       : names.find_image(int64_t(value));
    } else if (key == "category_name") {
      out.label = names.find_class(std::string(std::string_view(value)));
      named = true;  // goes before the number
    } else if (key == "category_id" && !named) {
      out.label = names.find_category(int64_t(value));
    }
  }
  return out.image >= 0 && out.label >= 0 && scored && boxed;
}

/// All detections of a text that is as it should be, fast; nothing where it is not: then the
/// careful reader says what is wrong.
std::optional<std::vector<Detection>> read_quickly(std::string& text, const Names& names) {
  std::vector<Detection> detections;
  try {
    text.reserve(text.size() + simdjson::SIMDJSON_PADDING);
    simdjson::ondemand::parser parser;
    simdjson::ondemand::document document =
        parser.iterate(simdjson::padded_string_view(text.data(), text.size(), text.capacity()));
    for (auto entry : document.get_array()) {
      Detection detection;
      if (!read_fields(entry.get_object(), names, detection)) return std::nullopt;
      detections.push_back(detection);
    }
    // Something follows the array unless its end is out of bounds.
    if (document.current_location().error() == simdjson::SUCCESS) return std::nullopt;
  } catch (const simdjson::simdjson_error&) {
    return std::nullopt;
  }
  return detections;
}

}  // namespace

std::string detections_to_json(const Dataset& dataset, const std::vector<Detection>& detections) {
  std::string text = "[";
  for (size_t i = 0; i < detections.size(); ++i) {
    const Detection& d = detections[i];
    text += fmt::format(
        "{}\n  {{\"image_id\": {}, \"category_id\": {}, \"category_name\": {}, "
        "\"bbox\": [{}, {}, {:.9g}, {:.9g}], \"score\": {}}}",
        i == 0 ? "" : ",", image_id(dataset.images.at(static_cast<size_t>(d.image))),
        dataset.category_ids.empty() ? d.label + 1
                                     : dataset.category_ids.at(static_cast<size_t>(d.label)),
        quoted(dataset.class_names.at(static_cast<size_t>(d.label))), d.box.x1, d.box.y1,
        double{d.box.x2} - d.box.x1, double{d.box.y2} - d.box.y1, d.score);
  }
  return text + "\n]\n";
}

void write_detections_json(const fs::path& path, const Dataset& dataset,
                           const std::vector<Detection>& detections) {
  write_file(path, detections_to_json(dataset, detections));
}

std::vector<Detection> read_detections_json(const fs::path& path, const Dataset& dataset) {
  std::string text = read_text(path);
  const Names names(dataset);
  if (auto detections = read_quickly(text, names)) return *std::move(detections);
  json document;
  try {
    document = json::parse(text);
  } catch (const json::parse_error& error) {
    fail("{}:{}: malformed JSON at byte {}", path.string(),
         line_of(text, error.byte > 0 ? error.byte - 1 : 0), error.byte);
  }
  check(document.is_array(), "{}: expected an array of detections, found {}", path.string(),
        document.type_name());
  std::vector<Detection> detections;
  for (const json& entry : document)
    detections.push_back(read_entry(
        entry, names, fmt::format("{}: detection {}", path.string(), detections.size() + 1)));
  return detections;
}

std::vector<Detection> read_detections(const fs::path& path, const Dataset& truth) {
  std::error_code error;
  check(fs::exists(path, error), "{}: detections do not exist", path.string());
  return fs::is_directory(path, error) ? read_detections_text(path, truth)
                                       : read_detections_json(path, truth);
}

}  // namespace frcnn
