#include "data/voc_annotation.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <pugixml.hpp>
#include <string_view>
#include <utility>

#include "data/files.h"
#include "data/reading.h"
#include "kernels/launch/check.h"

namespace frcnn {
namespace {

constexpr std::array kCorners = {"xmin", "ymin", "xmax", "ymax"};

/// Knows the text, so that nodes have line numbers, and gathers the errors of one file.
class Parser {
 public:
  Parser(VocAnnotation& annotation, std::string_view text) : out_(annotation), text_(text) {}

  void run() {
    pugi::xml_document document;
    const pugi::xml_parse_result result = document.load_buffer(text_.data(), text_.size());
    if (!result) {
      error(Defect::annotation_broken,
            line_of(text_, static_cast<size_t>(std::max<ptrdiff_t>(result.offset, 0))),
            fmt::format("malformed XML: {}", result.description()));
      return;
    }
    const pugi::xml_node root = document.child("annotation");
    if (!root) {
      const pugi::xml_node found = document.first_child();
      error(
          Defect::annotation_broken, found ? line(found) : 1,
          fmt::format("expected <annotation> as the outermost element, found <{}>", found.name()));
      return;
    }
    out_.filename = trimmed(root.child_value("filename"));
    read_size(root.child("size"));
    int index = 0;
    for (const pugi::xml_node node : root.children("object")) read_object(node, index++);
  }

 private:
  int line(const pugi::xml_node& node) const {
    return line_of(text_, static_cast<size_t>(std::max<ptrdiff_t>(node.offset_debug(), 0)));
  }

  void error(Defect defect, int at, std::string message) {
    out_.errors.push_back({FindingKind::error, out_.file.string(), at, std::move(message), defect});
  }
  void object_error(int at, std::string message) {
    error(Defect::object_broken, at, std::move(message));
  }

  void read_size(const pugi::xml_node& size) {
    if (!size) return;
    out_.size_line = line(size);
    out_.width = pixels(size.child_value("width"));
    out_.height = pixels(size.child_value("height"));
  }

  /// Unreadable sizes count as missing: the picture itself knows better.
  static double pixels(const char* text) {
    const double value = parse_number(text).value_or(0);
    return value >= 1 && value <= 1e6 ? value : 0;
  }

  void read_object(const pugi::xml_node& node, int index) {
    VocObject object;
    object.line = line(node), object.index = index;
    object.name = trimmed(node.child_value("name"));
    const size_t errors_before = out_.errors.size();
    if (object.name.empty()) object_error(object.line, "expected <name> in <object>, found none");
    object.difficult = flag(node, "difficult");
    object.truncated = flag(node, "truncated");
    object.crowd = flag(node, "crowd");
    object.area = parse_number(node.child_value("area")).value_or(-1);
    read_corners(node, object);
    if (out_.errors.size() == errors_before) out_.objects.push_back(std::move(object));
  }

  static bool flag(const pugi::xml_node& node, const char* tag) {
    const std::string_view text = trimmed(node.child_value(tag));
    return text == "1" || text == "true" || text == "True";
  }

  void read_corners(const pugi::xml_node& node, VocObject& object) {
    const pugi::xml_node box = node.child("bndbox");
    if (!box) {
      object_error(object.line,
                   fmt::format("expected <bndbox> in <object> '{}', found none", object.name));
      return;
    }
    for (size_t i = 0; i < kCorners.size(); ++i) {
      const pugi::xml_node corner = box.child(kCorners[i]);
      if (!corner) {
        object_error(line(box), fmt::format("expected <{}> in <bndbox>, found none", kCorners[i]));
        return;
      }
      const std::string_view text = trimmed(corner.child_value());
      const std::optional<double> value = parse_number(text);
      if (!value) {
        object_error(line(corner),
                     fmt::format("expected a number in <{}>, found '{}'", kCorners[i], text));
        return;
      }
      object.corners[i] = *value;
    }
  }

  VocAnnotation& out_;
  std::string_view text_;
};

}  // namespace

bool VocAnnotation::broken() const {
  return std::any_of(errors.begin(), errors.end(),
                     [](const Finding& e) { return e.defect == Defect::annotation_broken; });
}

VocAnnotation read_voc_annotation(const std::filesystem::path& file) {
  VocAnnotation annotation;
  annotation.file = file;
  try {
    const std::string text = read_text(file);
    Parser(annotation, text).run();
  } catch (const Error& e) {
    annotation.errors.push_back(
        {FindingKind::error, "", 0, e.what(), Defect::annotation_broken});  // it names the file
  }
  return annotation;
}

}  // namespace frcnn
