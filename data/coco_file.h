#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/reading.h"

// Internal to the COCO reader: a file's content as written.
namespace frcnn {

struct CocoCategory {
  int64_t id = 0;
  std::string name;
  int line = 0;
};

struct CocoImage {
  int64_t id = 0;
  std::string file_name;
  double width = 0, height = 0;  // 0: missing
  int line = 0;
};

struct CocoAnnotation {
  int64_t id = -1;  // below 0: missing
  int64_t image_id = 0, category_id = 0;
  std::array<double, 4> box = {};  // x, y, width, height
  double area = -1;                // below 0: missing
  int line = 0;
  bool crowd = false, difficult = false, truncated = false;
};

struct CocoFile {
  std::vector<CocoCategory> categories;
  std::vector<CocoImage> images;
  std::vector<CocoAnnotation> annotations;
  bool has_annotations = false;  // the member is there, maybe empty
};

/// Parses a file. Entries that lack what they need are findings of kind error; malformed JSON and
/// missing "images" or "categories" are thrown.
CocoFile parse_coco(const std::filesystem::path& file, std::vector<Finding>& findings);

}  // namespace frcnn
