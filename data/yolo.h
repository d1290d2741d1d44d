#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/reading.h"

namespace frcnn {

/// Where the pictures of a YOLO data set are and what its classes are called.
struct YoloLayout {
  std::filesystem::path root;
  std::filesystem::path source;      ///< data.yaml or the file with the names, for messages
  std::vector<std::string> classes;  ///< by index
  /// Folders of pictures, or .txt lists of pictures, of each split.
  std::map<std::string, std::vector<std::filesystem::path>> splits;
};

/// True for a .yaml or .yml file, and for a folder that holds one with "names" in it, or that has
/// labels/ and a file of class names (classes.txt, obj.names, *.names; beside or in labels/).
bool is_yolo(const std::filesystem::path& path);

/// Reads data.yaml ("path", "train", "val", "test", "names"), or looks at a folder: images/<split>
/// and labels/<split>, or images/ and labels/ alone (split "all"). Throws Error with file and line
/// for what is not understood: YAML is read as far as such files need it.
YoloLayout read_yolo_layout(const std::filesystem::path& path);

/// Reads a split ("all": every one). The labels of images/a/b.jpg are in labels/a/b.txt: the last
/// "images" of a path stands for "labels"; without one they lie beside the picture. A line is
/// "class cx cy width height" in shares of the picture, or a class and a polygon of at least 3
/// points, whose bounding box is taken. The box is ((cx - width / 2) * W, ...) in continuous pixels
/// of the picture as shown; it may stick out by kYoloSlack. A picture without label file has no
/// objects. Broken lines are errors with file and line, collected and thrown as one Error.
Dataset read_yolo(const YoloLayout& layout, const std::string& split, const ReadOptions& options);

inline constexpr double kYoloSlack = 0.02;  // pixels; of shares with 6 digits

/// Where the label file of a picture is expected.
std::filesystem::path yolo_label_file(const std::filesystem::path& picture);

}  // namespace frcnn
