#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/reading.h"
#include "data/voc.h"

namespace frcnn {

/// Kinds of data sets that can be read and written (docs/data.md).
enum class DatasetFormat : uint8_t { voc, coco, yolo, csv };

/// "voc", "coco", "yolo", "csv".
const char* name_of(DatasetFormat format);
/// Empty for other names.
std::optional<DatasetFormat> format_named(const std::string& name);

/// What a path holds: a .json, .csv or .yaml file, or a folder in one of the layouts
///
///   voc    Annotations/*.xml, also in the only such folder at most two levels below
///   coco   annotations/instances_<split>.json, or <split>/_annotations.coco.json
///   yolo   data.yaml, or labels/ with a file of class names
///   csv    <split>.csv
///
/// in this order. Throws Error that says what was looked for and what is there.
DatasetFormat recognise_format(const std::filesystem::path& path);

/// A .json or .csv file: one split by itself.
bool is_single_split(const std::filesystem::path& path);

/// Splits of a data set by name.
std::vector<std::string> dataset_splits(const std::filesystem::path& path, DatasetFormat format);

struct SourceOptions {
  ReadOptions read;
  std::optional<DatasetFormat> format;                  ///< empty: recognise_format()
  VocCoordinates coordinates = VocCoordinates::detect;  ///< voc, csv
  std::filesystem::path pictures;                       ///< coco: their folder; empty: found
};

/// Reads a split of a data set of any format. A single file is asked for "all" or by its own name.
Dataset read_dataset(const std::filesystem::path& path, const std::string& split,
                     const SourceOptions& options);

}  // namespace frcnn
