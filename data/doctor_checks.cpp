#include "data/doctor_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

namespace frcnn {
namespace {

/// Where a class is first used, and how often.
struct Use {
  int64_t objects = 0;
  std::string file;
  int line = 0;
};

std::string counted(int64_t objects) {
  return fmt::format("{} object{}", objects, objects == 1 ? "" : "s");
}

std::vector<Use> uses(const Dataset& set) {
  std::vector<Use> found(set.class_names.size());
  for (const ImageRecord& image : set.images)
    for (const Object& object : image.objects) {
      Use& use = found.at(static_cast<size_t>(object.label));
      if (use.objects++ == 0) use.file = image.annotation.string(), use.line = object.line;
    }
  return found;
}

}  // namespace

void check_objects(Diagnosis& d) {
  constexpr float kNearly = 0.9F;
  for (const ImageRecord& image : d.set.images) {
    for (size_t i = 0; i < image.objects.size(); ++i) {
      const Object& object = image.objects[i];
      // The most similar of those before it.
      const Object* closest = nullptr;
      float most = 0;
      for (size_t k = 0; k < i; ++k) {
        const Object& earlier = image.objects[k];
        if (earlier.label != object.label || earlier.crowd != object.crowd) continue;
        const float overlap = earlier.box == object.box ? 2 : iou(earlier.box, object.box);
        if (overlap > most) most = overlap, closest = &earlier;
      }
      if (closest == nullptr || most < kNearly) continue;
      const std::string& name = d.set.class_names.at(static_cast<size_t>(object.label));
      d.findings.push_back(
          {FindingKind::note, image.annotation.string(), object.line,
           most > 1 ? fmt::format("'{}' has the box of the one in line {}", name, closest->line)
                    : fmt::format("'{}' has nearly the box of the one in line {}: IoU {:.2f}", name,
                                  closest->line, most),
           Defect::box_duplicate});
    }
  }
}

std::string plain_name(const std::string& name) {
  std::string plain;
  for (const char c : name) {
    if (c == ' ' || c == '_' || c == '-' || c == '\t') continue;
    plain += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return plain;
}

std::vector<size_t> joined_classes(const Dataset& set) {
  const std::vector<Use> found = uses(set);
  std::map<std::string, size_t> best;
  for (size_t k = 0; k < found.size(); ++k) {
    const auto [at, first] = best.emplace(plain_name(set.class_names[k]), k);
    if (!first && found[k].objects > found[at->second].objects) at->second = k;
  }
  std::vector<size_t> joined;
  for (const std::string& name : set.class_names) joined.push_back(best.at(plain_name(name)));
  return joined;
}

void check_classes(Diagnosis& d, int rare) {
  const std::vector<Use> found = uses(d.set);
  const std::vector<size_t> joined = joined_classes(d.set);
  for (size_t k = 0; k < found.size(); ++k) {
    const std::string& name = d.set.class_names[k];
    const Use& use = found[k];
    if (use.objects < rare)
      d.findings.push_back(
          {FindingKind::note, use.file, use.line,
           fmt::format("class '{}' has {}, fewer than {}", name, counted(use.objects), rare),
           Defect::class_rare});
    if (joined[k] != k && use.objects > 0)
      d.findings.push_back(
          {FindingKind::note, use.file, use.line,
           fmt::format("class '{}' ({}) looks like '{}' ({})", name, counted(use.objects),
                       d.set.class_names[joined[k]], counted(found[joined[k]].objects)),
           Defect::class_similar});
  }
}

void check_pictures(Diagnosis& d) {
  for (const ImageRecord& image : d.set.images) {
    const PictureFacts& facts = d.facts.at(image.path.string());
    const auto report = [&](Defect defect, std::string message) {
      d.findings.push_back({FindingKind::note, image.path.string(), 0, std::move(message), defect});
    };
    if (!facts.error.empty()) {
      d.findings.push_back(
          {FindingKind::error, "", 0, facts.error, Defect::picture_unreadable});  // names the file
      continue;
    }
    if (!facts.whole)
      report(Defect::picture_truncated,
             fmt::format("{} of {}x{} ends after {} bytes without its end marker",
                         name_of(facts.format), facts.info.width, facts.info.height, facts.bytes));
    const PictureFormat promised = promised_format(image.path);
    if (promised != facts.format)
      report(Defect::picture_extension, fmt::format("holds a {}", name_of(facts.format)));
    if (facts.info.orientation != 1)
      report(Defect::exif_orientation,
             fmt::format("EXIF orientation {}: stored {}x{}, shown {}x{}", facts.info.orientation,
                         facts.info.stored_width, facts.info.stored_height, facts.info.width,
                         facts.info.height));
    if (facts.cmyk)
      report(Defect::picture_cmyk, "has four channels (CMYK or YCCK)");
    else if (facts.channels == 1 || facts.channels == 2)
      report(Defect::picture_gray, "has one channel");
    if (facts.bits == 16) report(Defect::picture_deep, "has 16 bits per channel");
  }
}

void check_ids(Diagnosis& d) {
  const std::vector<int64_t>& ids = d.set.category_ids;
  if (ids.empty()) return;
  const auto [low, high] = std::minmax_element(ids.begin(), ids.end());
  if (*low == 1 && *high == std::ssize(ids)) return;
  const std::string file = d.set.images.empty() ? "" : d.set.images.front().annotation.string();
  d.findings.push_back({FindingKind::note, file, 0,
                        fmt::format("the {} categories have ids from {} to {}; labels are their "
                                    "ranks",
                                    ids.size(), *low, *high),
                        Defect::id_gaps});
}

}  // namespace frcnn
