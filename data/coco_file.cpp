#include "data/coco_file.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <cmath>
#include <limits>

#include "data/json_stream.h"
#include "kernels/launch/check.h"

namespace frcnn {
namespace fs = std::filesystem;
namespace {

using simdjson::ondemand::object;
using simdjson::ondemand::value;

/// What an entry lacks or holds instead: a sentence without file and line.
struct EntryFault {
  std::string message;
};

[[noreturn]] void wrong(const char* key, const char* expected, value& found) {
  std::string_view token = found.raw_json_token();
  while (!token.empty() && (token.back() == ' ' || token.back() == '\n')) token.remove_suffix(1);
  throw EntryFault{
      fmt::format("expected {} as '{}', found {}", expected, key, token.substr(0, 40))};
}

double number_of(const char* key, value& v) {
  double out = 0;
  if (v.get_double().get(out) != simdjson::SUCCESS || !std::isfinite(out))
    wrong(key, "a finite number", v);
  return out;
}

/// Integers, also those that were written with a fraction of .0.
int64_t integer_of(const char* key, value& v) {
  int64_t out = 0;
  if (v.get_int64().get(out) == simdjson::SUCCESS) return out;
  double real = 0;
  constexpr double kMost = 9007199254740992.0;  // 2^53
  if (v.get_double().get(real) != simdjson::SUCCESS || real != std::floor(real) ||
      std::abs(real) > kMost)
    wrong(key, "an integer", v);
  return static_cast<int64_t>(real);
}

/// 0, 1, true, false; null counts as false.
bool flag_of(const char* key, value& v) {
  bool truth = false;
  if (v.get_bool().get(truth) == simdjson::SUCCESS) return truth;
  if (v.is_null()) return false;
  const double number = number_of(key, v);
  if (number != 0 && number != 1) wrong(key, "0 or 1", v);
  return number == 1;
}

std::string string_of(const char* key, value& v) {
  std::string_view text;
  if (v.get_string().get(text) != simdjson::SUCCESS) wrong(key, "a string", v);
  return std::string(text);
}

std::array<double, 4> box_of(value& v) {
  std::array<double, 4> box{};
  size_t count = 0;
  simdjson::ondemand::array list;
  if (v.get_array().get(list) != simdjson::SUCCESS)
    wrong("bbox", "4 numbers [x, y, width, height]", v);
  for (auto item : list) {
    value element = item.value();
    const double number = number_of("bbox", element);
    if (count < 4) box[count] = number;
    ++count;
  }
  if (count != 4)
    throw EntryFault{
        fmt::format("expected 4 numbers [x, y, width, height] as 'bbox', found {}", count)};
  return box;
}

bool read_flag(std::string_view key, value& v, CocoAnnotation& out) {
  if (key == "iscrowd" || key == "crowd")
    out.crowd = flag_of("iscrowd", v) || out.crowd;
  else if (key == "ignore" || key == "difficult")
    out.difficult = flag_of("ignore", v) || out.difficult;
  else if (key == "truncated")
    out.truncated = flag_of("truncated", v);
  else
    return false;
  return true;
}

void read(object entry, CocoAnnotation& out) {
  bool has_image = false, has_category = false, has_box = false;
  for (auto field : entry) {
    const std::string_view key = std::string_view(field.unescaped_key());
    value v = field.value();
    if (key == "bbox") {
      out.box = box_of(v), has_box = true;
    } else if (key == "image_id") {
      out.image_id = integer_of("image_id", v), has_image = true;
    } else if (key == "category_id") {
      out.category_id = integer_of("category_id", v), has_category = true;
    } else if (key == "id") {
      out.id = integer_of("id", v);
    } else if (key == "area") {
      out.area = v.is_null() ? -1 : number_of("area", v);
    } else if (key == "attributes") {
      object attributes;
      if (v.get_object().get(attributes) != simdjson::SUCCESS) continue;
      for (auto attribute : attributes) {
        const std::string_view name = std::string_view(attribute.unescaped_key());
        value inner = attribute.value();
        if (name == "difficult" || name == "truncated") read_flag(name, inner, out);
      }
    } else {
      read_flag(key, v, out);
    }
  }
  const char* missing = !has_image ? "image_id" : !has_category ? "category_id" : "bbox";
  if (!has_image || !has_category || !has_box)
    throw EntryFault{fmt::format("expected member '{}', found none", missing)};
}

void read(object entry, CocoImage& out) {
  bool has_id = false;
  for (auto field : entry) {
    const std::string_view key = std::string_view(field.unescaped_key());
    value v = field.value();
    if (key == "id")
      out.id = integer_of("id", v), has_id = true;
    else if (key == "file_name")
      out.file_name = string_of("file_name", v);
    else if (key == "width" && !v.is_null())
      out.width = number_of("width", v);
    else if (key == "height" && !v.is_null())
      out.height = number_of("height", v);
  }
  if (!has_id) throw EntryFault{"expected member 'id', found none"};
  if (out.id < 0) throw EntryFault{fmt::format("expected an 'id' of at least 0, found {}", out.id)};
  if (out.file_name.empty()) throw EntryFault{"expected a name as 'file_name', found none"};
  const auto sound = [](double side) { return side == 0 || (side >= 1 && side <= 1e6); };
  if (!sound(out.width) || !sound(out.height))
    throw EntryFault{fmt::format("expected a width and height of 1 to 1000000, found {:g} and {:g}",
                                 out.width, out.height)};
}

void read(object entry, CocoCategory& out) {
  bool has_id = false;
  for (auto field : entry) {
    const std::string_view key = std::string_view(field.unescaped_key());
    value v = field.value();
    if (key == "id")
      out.id = integer_of("id", v), has_id = true;
    else if (key == "name")
      out.name = string_of("name", v);
  }
  if (!has_id) throw EntryFault{"expected member 'id', found none"};
  if (out.name.empty()) throw EntryFault{"expected a 'name', found none"};
}

class Parser {
 public:
  Parser(const fs::path& file, std::vector<Finding>& findings)
      : file_(file), findings_(findings), stream_(file) {}

  CocoFile run() {
    CocoFile out;
    bool has_images = false, has_categories = false;
    while (const auto key = stream_.next_key()) {
      if (*key == "images")
        read_list("images", out.images), has_images = true;
      else if (*key == "annotations")
        read_list("annotations", out.annotations), out.has_annotations = true;
      else if (*key == "categories")
        read_list("categories", out.categories), has_categories = true;
      else
        stream_.skip_value();
    }
    check(has_images, "{}: expected a COCO file with a list 'images', found none", file_.string());
    check(has_categories, "{}: expected a COCO file with a list 'categories', found none",
          file_.string());
    return out;
  }

 private:
  template <typename Entry>
  void read_list(const char* list, std::vector<Entry>& entries) {
    check(stream_.enter_array(), "{}: expected a list as '{}', found another value", file_.string(),
          list);
    for (int64_t index = 0; const auto element = stream_.next_element(); ++index) {
      Entry entry;
      entry.line = element->line;
      if (read_entry(*element, list, index, entry)) entries.push_back(std::move(entry));
    }
  }

  template <typename Entry>
  bool read_entry(const JsonStream::Element& element, const char* list, int64_t index,
                  Entry& entry) {
    const auto fault = [&](const std::string& message) {
      report(findings_, FindingKind::error, Defect::object_broken, {file_, element.line},
             fmt::format("{}[{}]: {}", list, index, message));
      return false;
    };
    try {
      auto document = parser_.iterate(element.text.data(), element.text.size(),
                                      element.text.size() + JsonStream::kPadding);
      object content;
      if (document.get_object().get(content) != simdjson::SUCCESS)
        return fault(fmt::format("expected an object, found {}", element.text.substr(0, 40)));
      read(content, entry);
      return true;
    } catch (const EntryFault& found) {
      return fault(found.message);
    } catch (const simdjson::simdjson_error& error) {
      return fault(fmt::format("malformed JSON: {}", error.what()));
    }
  }

  const fs::path& file_;
  std::vector<Finding>& findings_;
  JsonStream stream_;
  simdjson::ondemand::parser parser_;
};

}  // namespace

CocoFile parse_coco(const fs::path& file, std::vector<Finding>& findings) {
  return Parser(file, findings).run();
}

}  // namespace frcnn
