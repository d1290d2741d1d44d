#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace frcnn {

/// What can be wrong with a data set. Each kind has a row in defects(): code, weight, advice.
enum class Defect : uint8_t {
  other,  ///< a fact or fault without a code of its own
  // Files
  annotation_broken,   ///< the annotation file cannot be read as one
  object_broken,       ///< an object without name, box or numbers
  annotation_missing,  ///< a split names a picture that has no annotation
  picture_missing,
  picture_unreadable,  ///< no picture, or a format that is not decoded
  picture_truncated,
  picture_extension,   ///< a PNG named .jpg and the like
  picture_unlabelled,  ///< a picture that no annotation belongs to
  // Pictures
  size_mismatch,     ///< the annotation's size is not the picture's
  exif_turned,       ///< boxes were made on the picture as stored, EXIF turns it
  exif_orientation,  ///< EXIF turns or mirrors the picture
  picture_gray,
  picture_cmyk,
  picture_deep,  ///< 16 bits per channel
  // Boxes
  coordinate_base,     ///< counts pixels from another number than the rest of the set
  coordinate_wrapped,  ///< 65534 and the like: a negative number written without its sign
  box_swapped,
  box_empty,
  box_outside,  ///< wholly or mostly
  box_clipped,  ///< sticks out a little
  box_duplicate,
  // Classes
  class_unknown,
  class_similar,  ///< names that differ in case or spaces alone
  class_rare,
  // Sets
  split_repeats,      ///< a split names a picture twice
  split_leak,         ///< the same picture in two splits
  picture_duplicate,  ///< two files of the same content in one split
  id_duplicate,
  id_gaps,
  coordinates,  ///< the note on how coordinates are read
};

/// How much a defect matters: an error spoils training or evaluation, a warning may, a note is a
/// fact worth knowing.
enum class Severity : uint8_t { note, warning, error };

struct DefectInfo {
  Defect defect;
  Severity severity;
  std::string_view code;    ///< stable: scripts may rely on it
  std::string_view title;   ///< a heading
  std::string_view advice;  ///< one line
  std::string_view fix;     ///< what a repaired copy does about it; empty: nothing
};

/// One row for each Defect, in its order.
std::span<const DefectInfo> defects();
const DefectInfo& info(Defect defect);

/// "note", "warning" or "error".
std::string_view name_of(Severity severity);

}  // namespace frcnn
