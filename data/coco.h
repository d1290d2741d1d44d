#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/reading.h"

namespace frcnn {

/// Reads a COCO annotation file (the format of instances_*.json) through a small buffer: memory is
/// that of the data set, not of the file.
///
/// * Labels follow the category ids in ascending order, whatever they are (sparse, from 0);
///   Dataset::category_ids keeps them. Categories of one name become one class. ImageRecord::number
///   is the picture's id; pictures without annotations stay in.
/// * "bbox" [x, y, width, height] is in continuous pixels: the box is (x, y, x + width, y +
///   height). Corners may stick out by kCocoSlack, because writers round to two digits.
/// * "iscrowd" 1 sets Object::crowd, "ignore" 1 (as converters of PASCAL VOC write it) sets
///   Object::difficult, "area" sets Object::area. "difficult", "truncated" and "crowd" are read
///   too, also inside "attributes". Segmentations are skipped.
/// * Pictures are looked for by "file_name" in `pictures` or, where that is empty, in the folders
/// of
///   coco_picture_folders().
///
/// Findings name the annotation by file, line and id (many files are one line). Objects of unknown
/// pictures or categories and boxes of no area are left out. Entries without the members they need
/// are errors, collected over the file and thrown as one Error.
Dataset read_coco(const std::filesystem::path& file, const ReadOptions& options,
                  const std::filesystem::path& pictures = {});

inline constexpr double kCocoSlack = 0.02;  // pixels

/// Folders where the pictures of an annotation file are looked for, best first.
std::vector<std::filesystem::path> coco_picture_folders(const std::filesystem::path& file);

/// One annotation file below a data folder.
struct CocoSplit {
  std::string name;  ///< "train2017" of annotations/instances_train2017.json
  std::filesystem::path file;
};

/// The splits of a folder in COCO layout, sorted by name: annotations/instances_<split>.json (any
/// .json there when there is none of that name), instances_<split>.json in the folder itself, and
/// <split>/_annotations.coco.json. Empty when the folder has no such file.
std::vector<CocoSplit> coco_splits(const std::filesystem::path& root);

}  // namespace frcnn
