#include "data/formats.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "data/coco.h"
#include "data/csv.h"
#include "data/splits.h"
#include "data/yolo.h"
#include "kernels/launch/check.h"

namespace frcnn {
namespace fs = std::filesystem;
namespace {

constexpr std::array kNames = {"voc", "coco", "yolo", "csv"};
constexpr const char* kLookedFor =
    "PASCAL VOC (Annotations/*.xml), COCO (annotations/instances_<split>.json), YOLO (data.yaml, "
    "or "
    "labels/ and classes.txt) or CSV (<split>.csv)";

std::vector<CocoSplit> csv_splits(const fs::path& root) {
  std::vector<CocoSplit> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root, error))
    if (entry.path().extension() == ".csv")
      found.push_back({entry.path().stem().string(), entry.path()});
  std::sort(found.begin(), found.end(),
            [](const CocoSplit& a, const CocoSplit& b) { return a.name < b.name; });
  return found;
}

bool has_voc_below(const fs::path& root) {
  try {
    find_voc_folder(root);
    return true;
  } catch (const Error&) {
    return false;
  }
}

std::vector<std::string> names_of(const std::vector<CocoSplit>& splits) {
  std::vector<std::string> names;
  for (const CocoSplit& split : splits) names.push_back(split.name);
  return names;
}

/// Reads the files that make up a split and joins them.
template <typename Read>
Dataset read_files(const fs::path& root, const std::vector<CocoSplit>& splits,
                   const std::string& split, const Read& read) {
  std::vector<Dataset> sets;
  for (const std::string& name : resolve_split(names_of(splits), split, root.string()))
    for (const CocoSplit& candidate : splits)
      if (candidate.name == name) sets.push_back(read(candidate.file));
  const std::string name = fmt::format("{} ({})", root.lexically_normal().string(), split);
  Dataset joined = join_datasets(std::move(sets), name);
  joined.name = name, joined.root = root;
  return joined;
}

void check_single(const fs::path& file, const std::string& split) {
  const std::string stem = file.stem().string();
  check(split == "all" || split == stem || stem == "instances_" + split,
        "{}: is one split by itself, '{}' or 'all'; found '{}' asked for", file.string(), stem,
        split);
}

}  // namespace

const char* name_of(DatasetFormat format) {
  return kNames.at(static_cast<size_t>(format));
}

std::optional<DatasetFormat> format_named(const std::string& name) {
  for (size_t i = 0; i < kNames.size(); ++i)
    if (name == kNames[i]) return static_cast<DatasetFormat>(i);
  return {};
}

bool is_single_split(const fs::path& path) {
  std::error_code error;
  return (path.extension() == ".json" || path.extension() == ".csv") &&
         !fs::is_directory(path, error);
}

DatasetFormat recognise_format(const fs::path& path) {
  std::error_code error;
  check(fs::exists(path, error), "{}: there is no such data set folder or file", path.string());
  if (!fs::is_directory(path, error)) {
    if (path.extension() == ".json") return DatasetFormat::coco;
    if (path.extension() == ".csv") return DatasetFormat::csv;
    if (is_yolo(path)) return DatasetFormat::yolo;
    fail("{}: expected a folder, a .json (COCO), .csv or .yaml (YOLO) file", path.string());
  }
  if (fs::is_directory(path / "Annotations", error)) return DatasetFormat::voc;
  if (!coco_splits(path).empty()) return DatasetFormat::coco;
  if (is_yolo(path)) return DatasetFormat::yolo;
  if (has_voc_below(path)) return DatasetFormat::voc;
  if (!csv_splits(path).empty()) return DatasetFormat::csv;
  fail("{}: expected a data set, {}; found {}", path.string(), kLookedFor, folder_contents(path));
}

std::vector<std::string> dataset_splits(const fs::path& path, DatasetFormat format) {
  if (is_single_split(path)) return {};
  switch (format) {
    case DatasetFormat::voc:
      return voc_splits(path);
    case DatasetFormat::coco:
      return names_of(coco_splits(path));
    case DatasetFormat::csv:
      return names_of(csv_splits(path));
    case DatasetFormat::yolo:
      break;
  }
  std::vector<std::string> names;
  for (const auto& [name, sources] : read_yolo_layout(path).splits) names.push_back(name);
  return names;
}

Dataset read_dataset(const fs::path& path, const std::string& split, const SourceOptions& options) {
  const DatasetFormat format = options.format ? *options.format : recognise_format(path);
  std::error_code error;
  check(fs::exists(path, error), "{}: there is no such data set folder or file", path.string());
  if (format == DatasetFormat::voc) {
    VocOptions voc;
    voc.root = path, voc.split = split;
    voc.classes = options.read.classes.keep, voc.rename = options.read.classes.rename;
    voc.coordinates = options.coordinates;
    voc.check_pictures = options.read.pictures;
    voc.strict = options.read.strict, voc.lenient = options.read.lenient;
    return read_voc(voc);
  }
  if (format == DatasetFormat::yolo) return read_yolo(read_yolo_layout(path), split, options.read);
  const auto read = [&](const fs::path& file) {
    return format == DatasetFormat::coco ? read_coco(file, options.read, options.pictures)
                                         : read_csv(file, options.read, options.coordinates);
  };
  if (!fs::is_directory(path, error)) {
    check_single(path, split);
    return read(path);
  }
  const auto splits = format == DatasetFormat::coco ? coco_splits(path) : csv_splits(path);
  check(!splits.empty(), "{}: expected {}, found {}", path.string(),
        format == DatasetFormat::coco ? "annotations/instances_<split>.json" : "<split>.csv",
        folder_contents(path));
  return read_files(path, splits, split, read);
}

}  // namespace frcnn
