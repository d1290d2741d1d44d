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
#include "data/voc_annotation.h"
#include "data/voc_folder.h"
#include "kernels/launch/check.h"

namespace frcnn {
namespace fs = std::filesystem;
namespace {

std::string corners_text(const VocObject& object) {
  const auto& c = object.corners;
  return fmt::format("'{}' ({:g}, {:g}, {:g}, {:g})", object.name, c[0], c[1], c[2], c[3]);
}

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

Box to_continuous(const std::array<double, 4>& c, VocCoordinates coordinates) {
  const double low = coordinates == VocCoordinates::one_based ? -1 : 0;
  const double high = coordinates == VocCoordinates::zero_based ? 1 : 0;
  return {static_cast<float>(c[0] + low), static_cast<float>(c[1] + low),
          static_cast<float>(c[2] + high), static_cast<float>(c[3] + high)};
}

/// A box drawn on a stored picture, in the picture as EXIF orientation 5..8 turns it.
Box turned(const Box& box, const ImageInfo& info) {
  const auto w = static_cast<float>(info.stored_width), h = static_cast<float>(info.stored_height);
  Box b = box;
  if (info.orientation == 7 || info.orientation == 8) b.x1 = w - box.x2, b.x2 = w - box.x1;
  if (info.orientation == 6 || info.orientation == 7) b.y1 = h - box.y2, b.y2 = h - box.y1;
  return {b.y1, b.x1, b.y2, b.x2};
}

class Reader {
 public:
  explicit Reader(const VocOptions& options)
      : options_(options), folder_(find_voc_folder(options.root)) {}

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
        report(FindingKind::left_out, entry.file, entry.line,
               fmt::format("picture '{}' is named a second time", entry.id));
    }
    throw_errors();
    require_not_empty(dataset_, false);
    return std::move(dataset_);
  }

 private:
  const VocAnnotation& annotation(const std::string& id) {
    const auto found = annotations_.find(id);
    if (found != annotations_.end()) return found->second;
    const fs::path file = folder_ / "Annotations" / (id + ".xml");
    return annotations_.emplace(id, read_voc_annotation(file)).first->second;
  }

  void report(FindingKind kind, const fs::path& file, int line, std::string message) {
    dataset_.findings.push_back({kind, file.string(), line, std::move(message)});
    if (options_.strict && kind != FindingKind::note)
      errors_.push_back(to_string(dataset_.findings.back()));
  }

  void throw_errors() const {
    if (errors_.empty()) return;
    const size_t more = errors_.size() - 1;
    fail("{}{}", errors_.front(),
         more == 0 ? "" : fmt::format(" (and {} more {})", more, more == 1 ? "error" : "errors"));
  }

  void choose_classes_and_coordinates() {
    coordinates_ = options_.coordinates;
    std::set<std::string> names;
    CoordinateEvidence evidence;
    if (options_.classes.empty() || coordinates_ == VocCoordinates::detect) {
      for (const std::string& id : annotation_ids(folder_)) {
        const VocAnnotation& file = annotation(id);
        for (const VocObject& object : file.objects) names.insert(object.name);
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
    report(FindingKind::note, folder_ / "Annotations", 0,
           fmt::format("coordinates are read as {}: of {} boxes, {} begin at 0 and {} end at the "
                       "picture's width or height",
                       name, evidence.boxes, evidence.at_zero, evidence.at_size));
  }

  void add_picture(const SplitEntry& entry) {
    const fs::path xml = folder_ / "Annotations" / (entry.id + ".xml");
    std::error_code ignored;
    if (!fs::exists(xml, ignored)) {
      errors_.push_back(fmt::format("{}:{}: picture '{}' has no annotation {}", entry.file.string(),
                                    entry.line, entry.id, xml.string()));
      return;
    }
    const VocAnnotation& file = annotation(entry.id);
    errors_.insert(errors_.end(), file.errors.begin(), file.errors.end());
    if (!file.errors.empty()) return;
    ImageRecord image;
    image.id = entry.id;
    image.annotation = xml;
    image.path = find_picture(folder_, entry.id, file.filename);
    if (image.path.empty()) {
      errors_.push_back(fmt::format("{}:1: picture {} does not exist", xml.string(),
                                    (folder_ / "JPEGImages" / (entry.id + ".jpg")).string()));
      return;
    }
    const std::optional<ImageInfo> stored_frame = find_size(file, image);
    if (image.width <= 0) return;
    for (const VocObject& object : file.objects) add_object(file, object, stored_frame, image);
    dataset_.images.push_back(std::move(image));
  }

  /// Sets the picture's size. Gives the picture's header when the boxes were drawn on the picture
  /// as stored although EXIF turns it: then they have to be turned too.
  std::optional<ImageInfo> find_size(const VocAnnotation& file, ImageRecord& image) {
    const int w = static_cast<int>(std::lround(file.width));
    const int h = static_cast<int>(std::lround(file.height));
    image.width = w, image.height = h;
    if (!options_.check_pictures && w > 0 && h > 0) return {};
    ImageInfo info;
    try {
      info = read_image_info(image.path);
    } catch (const Error& error) {
      errors_.push_back(error.what());
      image.width = image.height = 0;
      return {};
    }
    image.width = info.width, image.height = info.height;
    if (w == info.width && h == info.height) return {};
    if (info.orientation >= 5 && w == info.stored_width && h == info.stored_height) {
      report(FindingKind::repaired, file.file, file.size_line,
             fmt::format(
                 "boxes were drawn on the picture as stored ({}x{}), EXIF orientation {} turns "
                 "it to {}x{}; the boxes are turned too",
                 w, h, info.orientation, info.width, info.height));
      return info;
    }
    if (file.size_line > 0)
      report(FindingKind::repaired, file.file, file.size_line,
             fmt::format("<size> is {}x{}, the picture is {}x{}; the picture's size is used", w, h,
                         info.width, info.height));
    return {};
  }

  void add_object(const VocAnnotation& file, const VocObject& written,
                  const std::optional<ImageInfo>& stored_frame, ImageRecord& image) {
    const auto report_object = [&](FindingKind kind, const std::string& message) {
      report(kind, file.file, written.line, fmt::format("{} {}", corners_text(written), message));
    };
    const auto label = labels_.find(written.name);
    if (label == labels_.end()) {
      report_object(FindingKind::left_out,
                    fmt::format("has a class that is not one of the {} given ({})", labels_.size(),
                                fmt::join(dataset_.class_names, ", ")));
      return;
    }
    std::array<double, 4> c = written.corners;
    const double largest = *std::max_element(c.begin(), c.end());
    if (largest >= 65500 && std::max(image.width, image.height) < 65000) {
      report_object(FindingKind::left_out,
                    fmt::format("has a coordinate {:g} far outside the picture ({}x{}): a negative "
                                "number written without its sign?",
                                largest, image.width, image.height));
      return;
    }
    if (c[0] == c[2] || c[1] == c[3]) {
      report_object(FindingKind::left_out, "has no area");
      return;
    }
    if (c[0] > c[2] || c[1] > c[3]) {
      if (c[0] > c[2]) std::swap(c[0], c[2]);
      if (c[1] > c[3]) std::swap(c[1], c[3]);
      report_object(FindingKind::repaired, "has its corners swapped");
    }
    Box box = to_continuous(c, coordinates_);
    if (stored_frame) box = turned(box, *stored_frame);
    const Box inside = {std::max(box.x1, 0.0f), std::max(box.y1, 0.0f),
                        std::min(box.x2, static_cast<float>(image.width)),
                        std::min(box.y2, static_cast<float>(image.height))};
    const bool overlaps = inside.x2 > inside.x1 && inside.y2 > inside.y1;
    if (!overlaps || inside.area() < 0.5f * box.area()) {
      report_object(FindingKind::left_out,
                    fmt::format("lies {} outside the picture ({}x{})",
                                overlaps ? "mostly" : "wholly", image.width, image.height));
      return;
    }
    if (inside != box)
      report_object(FindingKind::repaired,
                    fmt::format("sticks out of the picture ({}x{}) and is clipped to it",
                                image.width, image.height));
    Object object;
    object.box = inside, object.label = label->second, object.line = written.line;
    object.difficult = written.difficult, object.truncated = written.truncated;
    image.objects.push_back(object);
  }

  const VocOptions& options_;
  fs::path folder_;
  Dataset dataset_;
  std::map<std::string, VocAnnotation> annotations_;
  std::map<std::string, int> labels_;
  VocCoordinates coordinates_ = VocCoordinates::detect;
  std::vector<std::string> errors_;
};

}  // namespace

VocCoordinates detect_coordinates(const CoordinateEvidence& evidence) {
  const bool zero = evidence.at_zero > 0 && evidence.at_zero * 20 >= evidence.at_size;
  const bool size = evidence.at_size > 0 && evidence.at_size * 20 >= evidence.at_zero;
  if (zero && size) return VocCoordinates::edges;
  return zero ? VocCoordinates::zero_based : VocCoordinates::one_based;
}

Dataset read_voc(const VocOptions& options) {
  return Reader(options).run();
}

}  // namespace frcnn
