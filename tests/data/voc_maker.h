#pragma once

#include <fmt/core.h>

#include <filesystem>
#include <string>
#include <vector>

#include "data/files.h"
#include "data/image.h"
#include "data/voc.h"
#include "kernels/launch/check.h"

namespace frcnn::test {

/// Message of the Error that `action` throws; "" when it throws none.
template <typename Action>
std::string error_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// <object> on one line, so that line numbers are easy to foresee.
inline std::string object_xml(const std::string& name, const std::string& x1, const std::string& y1,
                              const std::string& x2, const std::string& y2,
                              const std::string& more = "") {
  return fmt::format(
      "<object><name>{}</name>{}<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>"
      "<ymax>{}</ymax></bndbox></object>\n",
      name, more, x1, y1, x2, y2);
}

inline Dataset read_folder(const std::filesystem::path& root, const std::string& split = "all",
                           std::vector<std::string> classes = {}) {
  VocOptions options;
  options.root = root;
  options.split = split;
  options.classes = std::move(classes);
  return read_voc(options);
}

/// A VOC folder to fill: pictures of 64x48.
class VocMaker {
 public:
  explicit VocMaker(const std::filesystem::path& folder) : folder_(folder) {
    for (const char* name : {"Annotations", "JPEGImages", "ImageSets/Main"})
      std::filesystem::create_directories(folder / name);
  }

  /// Objects begin at line 3 of the annotation.
  void add(const std::string& id, const std::string& objects,
           const std::string& size = "<size><width>64</width><height>48</height></size>") {
    annotate(id, fmt::format("<annotation>\n{}\n{}</annotation>\n", size, objects));
    write_image(Image(64, 48, 90), folder_ / "JPEGImages" / (id + ".png"));
  }
  void annotate(const std::string& id, const std::string& xml) {
    write_file(folder_ / "Annotations" / (id + ".xml"), xml);
  }
  void split(const std::string& name, const std::string& lines) {
    write_file(folder_ / "ImageSets/Main" / (name + ".txt"), lines);
  }
  Dataset read(const std::string& split = "all", std::vector<std::string> classes = {}) const {
    return read_folder(folder_, split, std::move(classes));
  }

 private:
  std::filesystem::path folder_;
};

}  // namespace frcnn::test
