#pragma once

#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"
#include "data/image.h"

// Shared by the readers of data sets: what they collect while they read, and the rules that are the
// same in every format.
namespace frcnn {

/// Which classes of an annotation file are wanted. Names are renamed first, then looked up.
struct ClassRules {
  std::vector<std::string> keep;              ///< in the order of the labels; empty: all found
  std::map<std::string, std::string> rename;  ///< name in the file -> name in the data set

  const std::string& renamed(const std::string& name) const;
};

/// What readers of single-file formats are told.
struct ReadOptions {
  ClassRules classes;
  /// Every picture has to be there, and its header tells its size. Off, as for judging detections:
  /// sizes of the annotation file are believed, and pictures may be missing.
  bool pictures = true;
  bool strict = false;   ///< any defect is an error
  bool lenient = false;  ///< errors become findings of kind error, and reading goes on
};

/// A place in an annotation file.
struct Place {
  std::filesystem::path file;
  int line = 0;  ///< 0: the file as a whole
};

/// Adds a finding to those of a reader.
void report(std::vector<Finding>& findings, FindingKind kind, Defect defect, const Place& place,
            std::string message);

/// Looks names up, and tells once per class how many objects were left out as not wanted.
class ClassLookup {
 public:
  /// `found`: the names of the file in its order (by id, or sorted); they are the classes unless
  /// rules.keep names them. Sets dataset.class_names. Throws Error for empty or repeated names and
  /// for a background in rules.keep.
  ClassLookup(const ClassRules& rules, const std::vector<std::string>& found, Dataset& dataset);

  /// Label of a name of the file; below 0: not wanted.
  int label(const std::string& name) const;
  /// Counts an object whose class is not wanted.
  void left_out(const std::string& name, const Place& place);
  /// Reports what left_out() counted, and wanted names that no class of the file has.
  void report(std::vector<Finding>& findings, const std::filesystem::path& file) const;

 private:
  struct LeftOut {
    Place first;
    int64_t objects = 0;
  };
  const ClassRules& rules_;
  std::vector<std::string> found_;
  std::vector<std::string> names_;
  std::map<std::string, int> labels_;
  std::map<std::string, LeftOut> left_out_;
};

/// How an annotation gave the size of its picture.
struct WrittenSize {
  double width = 0, height = 0;
  bool given = true;  ///< false: there is none to compare with the picture's
  Place place;
  std::string name = "the size";  ///< in messages: "<size>"
  std::string prefix;             ///< of messages, where the place does not tell the picture
};

/// Sets the size of an image from the header of image.path (without `from_picture`: as written, if
/// it is). Gives the header when boxes were drawn on the picture as stored although EXIF turns it:
/// then they have to be turned too. An unreadable picture is an error, and image.width is 0.
std::optional<ImageInfo> settle_size(ImageRecord& image, const WrittenSize& written,
                                     bool from_picture, std::vector<Finding>& findings);

/// Fits a box in continuous pixels (x1, y1, x2, y2) into a picture by the rules of judge_object().
/// Corners may stick out by `slack` pixels without a word, for formats that round. `prefix` begins
/// the messages. Empty: left out.
std::optional<Box> fit_box(const std::string& name, const std::array<double, 4>& corners,
                           const ImageRecord& image, const std::optional<ImageInfo>& stored,
                           double slack, const Place& place, const std::string& prefix,
                           std::vector<Finding>& findings);

/// "name" of `name.jpg` for each image; where two pictures would have the same, the path below
/// `root` with '_' for '/' is taken for both.
void set_distinct_ids(std::vector<ImageRecord>& images, const std::filesystem::path& root);

/// "12 files (a.txt, b.txt, ...) and 3 folders": what a folder holds instead of what was expected.
std::string folder_contents(const std::filesystem::path& folder);

/// A decimal number that fills `text` except for blanks around it; empty: there is none, or it is
/// not finite.
std::optional<double> parse_number(std::string_view text);

/// Without blanks at both ends.
std::string_view trimmed(std::string_view text);

}  // namespace frcnn
