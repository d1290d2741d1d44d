#include "data/defects.h"

#include <array>
#include <cstddef>

namespace frcnn {
namespace {

using enum Severity;

constexpr std::array kDefects = {
    DefectInfo{Defect::other, warning, "other", "other findings", "read the message", ""},
    DefectInfo{Defect::annotation_broken, error, "annotation-broken", "unusable annotation files",
               "repair or delete the file; the picture is not in the set",
               "leaves the picture out"},
    DefectInfo{Defect::object_broken, error, "object-broken",
               "objects without name, box or numbers", "complete the object or delete it",
               "removes the object"},
    DefectInfo{Defect::annotation_missing, error, "annotation-missing",
               "pictures of a split without annotation",
               "annotate the picture or take its line out of the split",
               "takes the line out of the split"},
    DefectInfo{Defect::picture_missing, error, "picture-missing", "annotations without picture",
               "fetch the picture or delete the annotation", "leaves the annotation out"},
    DefectInfo{Defect::picture_unreadable, error, "picture-unreadable",
               "files that do not decode as a picture", "replace the file or take it out",
               "leaves picture and annotation out"},
    DefectInfo{Defect::picture_truncated, error, "picture-truncated", "pictures cut short",
               "fetch the file again", "leaves picture and annotation out"},
    DefectInfo{Defect::picture_extension, warning, "picture-extension",
               "file names that belie the format", "rename the file: other tools go by its name",
               "renames the file"},
    DefectInfo{Defect::picture_unlabelled, warning, "picture-unlabelled",
               "pictures without annotation",
               "annotate the picture (without objects if it has none) or remove it",
               "leaves the picture out"},
    DefectInfo{Defect::size_mismatch, error, "size-mismatch",
               "annotations that state another picture size",
               "check that the boxes fit this picture: it may have been resized since",
               "writes the picture's size"},
    DefectInfo{Defect::exif_turned, warning, "exif-turned",
               "boxes made on a picture before EXIF turned it",
               "the boxes are turned with the picture; look at one", "writes the turned boxes"},
    DefectInfo{Defect::exif_orientation, warning, "exif-orientation",
               "pictures that EXIF turns or mirrors",
               "look at one: were the boxes made on the picture as shown? that is assumed", ""},
    DefectInfo{Defect::picture_gray, note, "picture-gray", "gray pictures",
               "the three channels will be equal", ""},
    DefectInfo{Defect::picture_cmyk, warning, "picture-cmyk", "CMYK pictures",
               "colours are converted without a profile; convert the file to RGB", ""},
    DefectInfo{Defect::picture_deep, note, "picture-16-bit", "pictures of 16 bits per channel",
               "the high byte is used", ""},
    DefectInfo{Defect::coordinate_base, warning, "coordinate-base",
               "boxes that count pixels from another number than the set",
               "0-based and 1-based corners are mixed: one pixel off", "clips the box"},
    DefectInfo{Defect::coordinate_wrapped, error, "coordinate-wrapped",
               "coordinates that wrapped around",
               "a negative number was written without its sign: set it to the picture's edge",
               "removes the object"},
    DefectInfo{Defect::box_swapped, error, "box-swapped", "boxes with swapped corners",
               "exchange minimum and maximum", "exchanges them"},
    DefectInfo{Defect::box_empty, error, "box-empty", "boxes without area",
               "draw the box again or delete the object", "removes the object"},
    DefectInfo{Defect::box_outside, error, "box-outside", "boxes outside the picture",
               "the box may belong to another picture or size", "removes the object"},
    DefectInfo{Defect::box_clipped, warning, "box-clipped", "boxes that stick out of the picture",
               "they are clipped to the picture", "writes the clipped box"},
    DefectInfo{Defect::box_duplicate, warning, "box-duplicate", "objects marked twice",
               "look, and delete one: the second counts as a missed object in evaluations",
               "removes exact copies; those that are nearly the same stay"},
    DefectInfo{Defect::class_unknown, error, "class-unknown",
               "objects of classes that are not in the list",
               "correct the name, or add the class to the list", "removes the object"},
    DefectInfo{Defect::class_similar, warning, "class-similar",
               "class names that differ in case or spaces alone",
               "they are trained as different classes: choose one spelling",
               "writes the most frequent spelling"},
    DefectInfo{Defect::class_rare, note, "class-rare", "classes with few objects",
               "collect more, or expect little of them", ""},
    DefectInfo{Defect::split_repeats, warning, "split-repeats", "pictures that a split names twice",
               "delete the second line", "removes the second line"},
    DefectInfo{Defect::split_leak, error, "split-leak", "the same picture in two splits",
               "results on the second split are too good: take the picture out of one",
               "keeps it in the test split (else in the validation split) alone"},
    DefectInfo{Defect::picture_duplicate, warning, "picture-duplicate",
               "files of the same content in one split",
               "keep one: the others only weigh it more, and annotations may disagree", ""},
    DefectInfo{Defect::id_duplicate, error, "id-duplicate", "ids that are used twice",
               "give each picture, object and category an id of its own",
               "keeps the first that has it"},
    DefectInfo{Defect::id_gaps, note, "id-gaps", "ids with gaps",
               "allowed; labels are the ranks of the category ids", ""},
    DefectInfo{Defect::coordinates, note, "coordinates", "how coordinates are read",
               "data.coordinates in the config overrides it", "writes VOC's 1-based corners"},
};

constexpr bool in_order() {
  for (size_t i = 0; i < kDefects.size(); ++i)
    if (static_cast<size_t>(kDefects[i].defect) != i) return false;
  return kDefects.size() == static_cast<size_t>(Defect::coordinates) + 1;
}
static_assert(in_order());

}  // namespace

std::span<const DefectInfo> defects() {
  return kDefects;
}

const DefectInfo& info(Defect defect) {
  return kDefects.at(static_cast<size_t>(defect));
}

std::string_view name_of(Severity severity) {
  return severity == error ? "error" : severity == warning ? "warning" : "note";
}

}  // namespace frcnn
