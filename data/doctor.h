#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "data/formats.h"
#include "data/picture_facts.h"
#include "data/voc.h"

namespace frcnn {

struct DoctorOptions {
  bool deep = false;  ///< decode every picture, and compare pixels instead of files
  int rare = 10;      ///< a class with fewer objects is rare
};

/// A picture that a split names.
struct SplitPicture {
  std::string id;
  std::filesystem::path path;  ///< of the picture, empty: there is none
  std::string file;            ///< where it is named
  int line = 0;
};

/// A named list of pictures, for the search for pictures in two of them.
struct PictureList {
  std::string name;  ///< "train"
  std::vector<SplitPicture> pictures;
};

/// Objects by the square root of their box's area in original pixels: below 16, 32, 64, 128, 256,
/// 512, and above.
inline constexpr std::array<int, 6> kSizeLimits = {16, 32, 64, 128, 256, 512};
using SizeHistogram = std::array<int64_t, kSizeLimits.size() + 1>;
/// "< 16", "16-32", ..., ">= 512".
std::string size_bin_name(size_t bin);
size_t size_bin(const Box& box);
/// By class; crowd regions are not counted.
std::vector<SizeHistogram> size_histograms(const Dataset& set);

/// The weight of a finding: its defect's; facts without a code of their own, and what a reader only
/// notes, weigh by what was done.
Severity severity_of(const Finding& finding);

/// What the examination of a data set gave.
struct Diagnosis {
  Dataset set;                                ///< as read; its findings have moved to `findings`
  std::vector<Finding> findings;              ///< grouped by defect, within one in order of reading
  std::map<std::string, PictureFacts> facts;  ///< by the path of the picture
  std::vector<SizeHistogram> sizes;           ///< by class
  std::vector<PictureList> lists;             ///< that were searched for common pictures

  /// Names of lists with the paths of pictures that another list keeps (split-leak).
  std::set<std::pair<std::string, std::string>> leaks;
  std::map<std::string, std::string> rename;  ///< class names of the files that the set renames

  int64_t count(Severity severity) const;
};

/// Examines a data set that was read leniently: its findings, objects (listed twice), classes
/// (rare, similar names), pictures (format, orientation, colours, damage) and the pictures that it
/// or `lists` hold twice. Reads every picture file once, on all threads.
Diagnosis examine(Dataset set, std::vector<PictureList> lists, const DoctorOptions& options);

/// A split of a data set of any format, read leniently; all its splits are compared. `used` gets
/// how the coordinates of a VOC folder were read.
Diagnosis examine_dataset(const std::filesystem::path& path, const std::string& split,
                          SourceOptions source, const DoctorOptions& options,
                          VocCoordinates* used = nullptr);

/// A VOC folder: reads the split leniently, looks for common pictures among all splits, for lines
/// of splits without annotation and, with split "all", for pictures without one. `used` gets how
/// coordinates were read.
Diagnosis examine_voc(VocOptions voc, const DoctorOptions& options, VocCoordinates* used = nullptr);

}  // namespace frcnn
