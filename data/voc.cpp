#include "data/voc.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "data/image.h"
#include "data/reading.h"
#include "data/voc_annotation.h"
#include "data/voc_folder.h"
#include "data/voc_object.h"
#include "kernels/launch/check.h"

namespace frcnn {
namespace fs = std::filesystem;
namespace {

/// Adds a file's boxes to the evidence. Boxes that stick out of the picture prove nothing.
void count_evidence(const VocAnnotation& annotation, CoordinateEvidence& evidence) {
  const double w = annotation.width, h = annotation.height;
  for (const VocObject& object : annotation.objects) {
    const auto& [x1, y1, x2, y2] = object.corners;
    const bool size_known = w > 0 && h > 0;
    if (!(x1 >= 0 && y1 >= 0 && x2 > x1 && y2 > y1)) continue;
    if (size_known && (x2 > w || y2 > h)) continue;
    ++evidence.boxes;
    evidence.at_zero += x1 < 1 || y1 < 1;
    evidence.at_size += size_known && (x2 > w - 1 || y2 > h - 1);
  }
}

class Reader {
 public:
  explicit Reader(const VocOptions& options)
      : options_(options),
        rules_{options.classes, options.rename},
        folder_(find_voc_folder(options.root)) {}

  Dataset run() {
    const std::vector<SplitEntry> split = read_split(folder_, options_.split);
    dataset_.root = folder_;
    dataset_.name = fmt::format("{} ({})", folder_.lexically_normal().string(), options_.split);
    choose_classes_and_coordinates();
    std::set<std::string> seen;
    for (const SplitEntry& entry : split) {
      if (seen.insert(entry.id).second)
        add_picture(entry);
      else
        report(FindingKind::left_out, Defect::split_repeats, entry.file, entry.line,
               fmt::format("picture '{}' is named a second time", entry.id));
    }
    if (!options_.lenient) {
      throw_errors(dataset_.findings, options_.strict);
      require_not_empty(dataset_, false);
    }
    return std::move(dataset_);
  }

  VocCoordinates coordinates() const { return coordinates_; }

 private:
  const VocAnnotation& annotation(const std::string& id) {
    const auto found = annotations_.find(id);
    if (found != annotations_.end()) return found->second;
    const fs::path file = folder_ / "Annotations" / (id + ".xml");
    return annotations_.emplace(id, read_voc_annotation(file)).first->second;
  }

  void report(FindingKind kind, Defect defect, const fs::path& file, int line,
              std::string message) {
    dataset_.findings.push_back({kind, file.string(), line, std::move(message), defect});
  }

  void choose_classes_and_coordinates() {
    coordinates_ = options_.coordinates;
    std::set<std::string> names;
    CoordinateEvidence evidence;
    if (options_.classes.empty() || coordinates_ == VocCoordinates::detect) {
      for (const std::string& id : annotation_ids(folder_)) {
        const VocAnnotation& file = annotation(id);
        for (const VocObject& object : file.objects) names.insert(rules_.renamed(object.name));
        count_evidence(file, evidence);
      }
    }
    if (coordinates_ == VocCoordinates::detect) note_coordinates(evidence);
    if (options_.classes.empty()) {
      dataset_.class_names.assign(names.begin(), names.end());
    } else {
      dataset_.class_names = options_.classes;
      check_given_classes();
    }
    for (size_t i = 0; i < dataset_.class_names.size(); ++i)
      labels_[dataset_.class_names[i]] = static_cast<int>(i);
  }

  void check_given_classes() const {
    std::set<std::string> unique;
    for (const std::string& name : options_.classes) {
      check(!name.empty(), "[voc] expected class names, found an empty one");
      check(unique.insert(name).second, "[voc] class '{}' is given twice", name);
      check(name != "background" && name != "__background__",
            "[voc] class lists don't include the background; leave '{}' out", name);
    }
  }

  void note_coordinates(const CoordinateEvidence& evidence) {
    coordinates_ = detect_coordinates(evidence);
    const char* name = coordinates_ == VocCoordinates::zero_based  ? "0-based pixels"
                       : coordinates_ == VocCoordinates::one_based ? "1-based pixels"
                                                                   : "positions of edges";
    report(FindingKind::note, Defect::coordinates, folder_ / "Annotations", 0,
           fmt::format("coordinates are read as {}: of {} boxes, {} begin at 0 and {} end at the "
                       "picture's width or height",
                       name, evidence.boxes, evidence.at_zero, evidence.at_size));
  }

  void add_picture(const SplitEntry& entry) {
    const fs::path xml = folder_ / "Annotations" / (entry.id + ".xml");
    std::error_code ignored;
    if (!fs::exists(xml, ignored)) {
      report(FindingKind::error, Defect::annotation_missing, entry.file, entry.line,
             fmt::format("picture '{}' has no annotation {}", entry.id, xml.string()));
      return;
    }
    const VocAnnotation& file = annotation(entry.id);
    dataset_.findings.insert(dataset_.findings.end(), file.errors.begin(), file.errors.end());
    if (file.broken()) return;
    ImageRecord image;
    image.id = entry.id;
    image.annotation = xml;
    image.path = find_picture(folder_, entry.id, file.filename);
    if (image.path.empty() && !options_.check_pictures && file.width > 0 && file.height > 0)
      image.path = folder_ / "JPEGImages" / (entry.id + ".jpg");
    if (image.path.empty()) {
      report(FindingKind::error, Defect::picture_missing, xml, 1,
             fmt::format("picture {} does not exist",
                         (folder_ / "JPEGImages" / (entry.id + ".jpg")).string()));
      return;
    }
    const std::optional<ImageInfo> stored = settle_size(
        image,
        {file.width, file.height, file.size_line > 0, {file.file, file.size_line}, "<size>", ""},
        options_.check_pictures, dataset_.findings);
    if (image.width <= 0) return;
    const VocFrame frame{coordinates_, image.width, image.height, stored};
    for (const VocObject& object : file.objects) add_object(file, object, frame, image);
    dataset_.images.push_back(std::move(image));
  }

  void add_object(const VocAnnotation& file, const VocObject& written, const VocFrame& frame,
                  ImageRecord& image) {
    const auto label = labels_.find(rules_.renamed(written.name));
    if (label == labels_.end()) {
      report(
          FindingKind::left_out, Defect::class_unknown, file.file, written.line,
          fmt::format("{} has a class that is not one of the {} given ({})", corners_text(written),
                      labels_.size(), fmt::join(dataset_.class_names, ", ")));
      return;
    }
    VocVerdict verdict = judge_object(written, frame);
    for (Finding& finding : verdict.findings) {
      finding.file = file.file.string();
      dataset_.findings.push_back(std::move(finding));
    }
    if (!verdict.box) return;
    Object object;
    object.box = *verdict.box, object.label = label->second, object.line = written.line;
    object.difficult = written.difficult, object.truncated = written.truncated;
    object.crowd = written.crowd, object.area = written.area;
    image.objects.push_back(object);
  }

  const VocOptions& options_;
  ClassRules rules_;
  fs::path folder_;
  Dataset dataset_;
  std::map<std::string, VocAnnotation> annotations_;
  std::map<std::string, int> labels_;
  VocCoordinates coordinates_ = VocCoordinates::detect;
};

}  // namespace

VocCoordinates detect_coordinates(const CoordinateEvidence& evidence) {
  const bool zero = evidence.at_zero > 0 && evidence.at_zero * 20 >= evidence.at_size;
  const bool size = evidence.at_size > 0 && evidence.at_size * 20 >= evidence.at_zero;
  if (zero && size) return VocCoordinates::edges;
  return zero ? VocCoordinates::zero_based : VocCoordinates::one_based;
}

Dataset read_voc(const VocOptions& options, VocCoordinates* used) {
  Reader reader(options);
  Dataset dataset = reader.run();
  if (used != nullptr) *used = reader.coordinates();
  return dataset;
}

}  // namespace frcnn
