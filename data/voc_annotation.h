#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace frcnn {

/// An <object> as written, numbers not interpreted.
struct VocObject {
  std::string name;
  std::array<double, 4> corners = {};  // xmin, ymin, xmax, ymax
  bool difficult = false, truncated = false;
  bool crowd = false;  // tags <crowd> and <area> are this program's, for what COCO files know
  double area = -1;
  int line = 0;   // of <object>
  int index = 0;  // among all <object> of the file
};

/// One annotation file as written.
struct VocAnnotation {
  std::filesystem::path file;
  std::string filename;          // tag <filename>, may be empty
  double width = 0, height = 0;  // tag <size>, 0: missing
  int size_line = 0;
  std::vector<VocObject> objects;  // the readable ones
  std::vector<Finding> errors;     // of kind error

  /// Nothing in the file can be used (malformed XML, another root element).
  bool broken() const;
};

/// Reads one annotation file. Defects are collected in `errors`, nothing is thrown for them.
VocAnnotation read_voc_annotation(const std::filesystem::path& file);

}  // namespace frcnn
