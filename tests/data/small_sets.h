#pragma once

#include <filesystem>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "data/image.h"

namespace frcnn::test {

inline Object object_at(const Box& box, int label = 0) {
  Object object;
  object.box = box, object.label = label;
  return object;
}

/// A set of the classes cat and dog with one picture, which has no file.
inline Dataset one_picture(std::vector<Object> objects) {
  Dataset set;
  set.class_names = {"cat", "dog"};
  set.images.emplace_back().objects = std::move(objects);
  return set;
}

/// Writes a grey picture of 64 x 48 pixels, and the folders it needs.
inline void write_grey(const std::filesystem::path& path) {
  std::filesystem::create_directories(path.parent_path());
  write_image(Image(64, 48, 90), path);
}

}  // namespace frcnn::test
