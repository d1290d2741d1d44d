#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace frcnn {

/// How annotation numbers name pixels. VOC's own are one_based. The names that config files use
/// are -1, 0, 1 and 2.
enum class VocCoordinates : int {
  detect = -1,     ///< by the evidence of the whole folder, see detect_coordinates()
  zero_based = 0,  ///< pixel indices from 0, last pixel inside the box: (x1, y1, x2 + 1, y2 + 1)
  one_based = 1,   ///< pixel indices from 1, last pixel inside the box: (x1 - 1, y1 - 1, x2, y2)
  edges = 2,       ///< positions of edges, 0..width: taken as they are
};

struct VocOptions {
  std::filesystem::path root;  ///< holds Annotations/ and JPEGImages/, or one folder that does
  std::string split = "all";   ///< ImageSets/Main/<split>.txt; "all": every annotation file
  std::vector<std::string> classes;  ///< empty: all names found in Annotations/, sorted
  VocCoordinates coordinates = VocCoordinates::detect;
  /// Compares sizes with the pictures' headers; off: pictures may also be missing.
  bool check_pictures = true;
  bool strict = false;   ///< any defect is an error
  bool lenient = false;  ///< errors become findings of kind error, and reading goes on
  std::map<std::string, std::string> rename = {};  ///< name in the files -> name in the data set
};

/// Reads a data set in PASCAL VOC layout. `truncated`, `difficult`, `pose`, `segmented` and `size`
/// may be missing; coordinates may have fractions. Objects of no area or outside the picture are
/// left out, those that stick out a little are clipped; Dataset::findings names each with file and
/// line. Errors (no such folder or split, malformed XML, object without name or coordinates,
/// missing picture) are collected over the split and thrown as one Error: the first, and how many
/// more there are; with `lenient` each becomes a finding of kind error. Class names come from all
/// of Annotations/, so that the splits of a folder agree. `used` gets how coordinates were read.
Dataset read_voc(const VocOptions& options, VocCoordinates* used = nullptr);

/// Counts that tell which coordinates a folder uses; only boxes inside the picture are counted.
struct CoordinateEvidence {
  int64_t boxes = 0;
  int64_t at_zero = 0;  ///< boxes with xmin or ymin below 1 (0-based or edges)
  int64_t at_size = 0;  ///< boxes with xmax = width or ymax = height (1-based or edges)
};

/// at_zero without at_size: zero_based; both: edges; otherwise one_based, as VOC says. A kind seen
/// 20 times less often than the other counts as a defect of single boxes, not as evidence.
VocCoordinates detect_coordinates(const CoordinateEvidence& evidence);

/// Names of the splits below `root` (ImageSets/Main/*.txt, without VOC's per-class lists), sorted.
std::vector<std::string> voc_splits(const std::filesystem::path& root);

/// Finds the folder that holds Annotations/: `root` itself or the only such folder at most two
/// levels below. Throws Error that says what was found instead.
std::filesystem::path find_voc_folder(const std::filesystem::path& root);

}  // namespace frcnn
