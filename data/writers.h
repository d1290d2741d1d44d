#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/formats.h"

namespace frcnn {

/// What becomes of the pictures of a data set that is written.
enum class PictureMode : uint8_t { copy, link, none };

struct NamedSplit {
  std::string name;
  Dataset set;
};

/// Writes data sets, one per split, as one folder of the given format:
///
///   voc   Annotations/, JPEGImages/, ImageSets/Main/<split>.txt; 1-based pixels, with fractions
///         where boxes have them; tags <crowd> and <area> only for objects that have them
///   coco  annotations/instances_<split>.json, <split>/; ids as Dataset::category_ids and
///         ImageRecord::number have them, otherwise from 1; "ignore": 1 for difficult objects
///   yolo  data.yaml, images/<split>/, labels/<split>/; crowd regions are left out, flags and mask
///         areas too
///   csv   <split>.csv with all columns, images/; without pictures their absolute paths
///
/// Numbers are written so that reading them gives the same boxes, bit for bit (voc: where they are
/// not nearer to 0 than 1e-7). Pictures keep their names; two of the same name in one folder are
/// numbered. PictureMode::link makes symbolic links to the originals. The splits need the same
/// class names. Returns sentences on what the format cannot hold. The folder appears as a whole, or
/// not at all; throws Error when it exists and is not empty.
std::vector<std::string> write_dataset(const std::filesystem::path& folder, DatasetFormat format,
                                       const std::vector<NamedSplit>& splits, PictureMode pictures);

/// One split as a COCO annotation file; `file_names` of the pictures, in their order.
std::string coco_text(const Dataset& set, const std::vector<std::string>& file_names);

}  // namespace frcnn
