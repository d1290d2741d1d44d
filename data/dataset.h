#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/defects.h"
#include "kernels/boxes/box.h"

namespace frcnn {

/// One labelled object. `box` is in continuous pixels of the picture as it is shown, that is after
/// EXIF orientation; `label` indexes Dataset::class_names.
struct Object {
  Box box;
  int label = 0;
  bool difficult = false;
  bool truncated = false;
  /// A region that holds several objects (COCO's iscrowd) or must not be judged: detections on it
  /// are neither right nor wrong, and it is never trained on.
  bool crowd = false;
  double area = -1;  ///< pixels of the object's mask (COCO's area); below 0: the box's area counts
  int line = 0;      ///< where it stands in the annotation file, 0: unknown
};

/// One picture and its objects.
struct ImageRecord {
  std::string id;              ///< name without folder and extension
  std::filesystem::path path;  ///< of the picture
  int width = 0, height = 0;   ///< pixels, after EXIF orientation
  std::vector<Object> objects;
  std::filesystem::path annotation;  ///< file the objects came from, empty: none
  int64_t number = -1;               ///< the picture's id in a COCO file; below 0: it has none
};

/// What a reader did about a defect.
enum class FindingKind : uint8_t {
  note,      ///< nothing changed: a fact the reader had to infer
  repaired,  ///< read with a correction (clipped, swapped corners, size taken from the picture)
  left_out,  ///< the object or picture is not in the data set
  error,     ///< the same, and the file is at fault: readers throw it unless they are lenient
};

/// One defect of a data set, or one inferred fact (kind note; file and line may then be empty).
struct Finding {
  FindingKind kind = FindingKind::note;
  std::string file;
  int line = 0;
  std::string message;  ///< one sentence: what was expected, what was found, what was done
  Defect defect = Defect::other;
};

/// "file:line: left out: message", without the parts that are missing.
std::string to_string(const Finding& finding);

/// Throws one Error when there are findings of kind error (`strict`: of any kind but note): the
/// first, and how many more there are.
void throw_errors(const std::vector<Finding>& findings, bool strict);

/// A labelled set of pictures. Class names never include a background.
struct Dataset {
  std::string name;  ///< folder and split, for messages
  std::filesystem::path root;
  std::vector<std::string> class_names;
  std::vector<int64_t> category_ids;  ///< of the classes in a COCO file; empty: label + 1
  std::vector<ImageRecord> images;
  std::vector<Finding> findings;
};

/// Numbers about a data set, for `frcnn inspect`.
struct DatasetSummary {
  struct Class {
    std::string name;
    int64_t boxes = 0, difficult = 0, truncated = 0, images = 0;
    int64_t crowds = 0;  ///< regions that are not among the boxes
  };
  std::vector<Class> classes;
  int64_t images = 0, images_without_objects = 0;
  int64_t boxes = 0, difficult = 0, truncated = 0;
  int64_t crowds = 0;                  ///< not counted elsewhere
  int64_t repaired = 0, left_out = 0;  ///< findings of these kinds; errors are left out too
  /// Quartiles of the boxes' sqrt(area) and height / width: minimum, 25 %, median, 75 %, maximum.
  std::vector<double> box_size, box_ratio;
  int min_width = 0, max_width = 0, min_height = 0, max_height = 0;
  int64_t distinct_sizes = 0;
};

DatasetSummary summarise(const Dataset& dataset);

/// The summary as aligned plain text, several lines, ending in a newline.
std::string describe(const Dataset& dataset);

/// Throws Error when the set has no picture, or (with `need_objects`) no object.
void require_not_empty(const Dataset& dataset, bool need_objects);

}  // namespace frcnn
