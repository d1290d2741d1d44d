#include "data/doctor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <set>
#include <tuple>
#include <utility>

#include "data/doctor_checks.h"
#include "data/voc_folder.h"
#include "kernels/launch/parallel.h"

namespace frcnn {
namespace fs = std::filesystem;
namespace {

/// Splits whose pictures are those of others by intention.
bool is_union(const std::string& name, const std::vector<std::string>& names) {
  const auto has = [&](const char* other) {
    return std::find(names.begin(), names.end(), other) != names.end();
  };
  return name == "all" || (name == "trainval" && (has("train") || has("val")));
}

/// The lists of a VOC folder, and what is wrong with their lines.
struct VocLists {
  std::vector<PictureList> lists;
  std::vector<Finding> findings;
};

VocLists voc_lists(const fs::path& folder, const std::string& split) {
  VocLists out;
  const std::vector<std::string> names = voc_splits(folder);
  for (const std::string& name : names) {
    if (is_union(name, names)) continue;
    PictureList list{name, {}};
    std::set<std::string> seen;
    for (const SplitEntry& entry : read_split(folder, name)) {
      const std::string file = entry.file.string();
      std::error_code ignored;
      // The reader tells about the lines of the split that it reads.
      const bool labelled = fs::exists(folder / "Annotations" / (entry.id + ".xml"), ignored);
      if (!labelled && split == "all")
        out.findings.push_back({FindingKind::error, file, entry.line,
                                fmt::format("picture '{}' has no annotation", entry.id),
                                Defect::annotation_missing});
      if (!seen.insert(entry.id).second) {
        if (split == "all")
          out.findings.push_back({FindingKind::left_out, file, entry.line,
                                  fmt::format("picture '{}' is named a second time", entry.id),
                                  Defect::split_repeats});
        continue;
      }
      list.pictures.push_back({entry.id, find_picture(folder, entry.id, ""), file, entry.line});
    }
    out.lists.push_back(std::move(list));
  }
  return out;
}

/// Pictures below JPEGImages/ that no annotation belongs to.
void find_unlabelled(const fs::path& folder, const Dataset& set, std::vector<Finding>& findings) {
  std::set<std::string> ids;
  for (const std::string& id : annotation_ids(folder)) ids.insert(id);
  std::set<std::string> used;
  for (const ImageRecord& image : set.images) used.insert(image.path.filename().string());
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder / "JPEGImages", error)) {
    const fs::path& path = entry.path();
    if (path.filename().string().front() == '.' || ids.count(path.stem().string()) != 0) continue;
    if (!has_image_extension(path) || used.count(path.filename().string()) != 0) continue;
    found.push_back(path);
  }
  std::sort(found.begin(), found.end());
  for (const fs::path& path : found)
    findings.push_back({FindingKind::left_out, path.string(), 0,
                        fmt::format("there is no annotation {}",
                                    (folder / "Annotations" / path.stem()).string() + ".xml"),
                        Defect::picture_unlabelled});
}

/// Order of the report: by weight, then by defect; the order of reading within one.
void arrange(std::vector<Finding>& findings) {
  const auto key = [](const Finding& f) {
    return std::tuple(-static_cast<int>(severity_of(f)), f.defect);
  };
  std::stable_sort(findings.begin(), findings.end(),
                   [&](const Finding& a, const Finding& b) { return key(a) < key(b); });
}

}  // namespace

std::string size_bin_name(size_t bin) {
  if (bin == 0) return fmt::format("< {}", kSizeLimits.front());
  if (bin == kSizeLimits.size()) return fmt::format(">= {}", kSizeLimits.back());
  return fmt::format("{}-{}", kSizeLimits.at(bin - 1), kSizeLimits.at(bin));
}

size_t size_bin(const Box& box) {
  const double side = std::sqrt(static_cast<double>(box.area()));
  return static_cast<size_t>(std::upper_bound(kSizeLimits.begin(), kSizeLimits.end(), side) -
                             kSizeLimits.begin());
}

std::vector<SizeHistogram> size_histograms(const Dataset& set) {
  std::vector<SizeHistogram> sizes(set.class_names.size());
  for (const ImageRecord& image : set.images)
    for (const Object& object : image.objects)
      if (!object.crowd) ++sizes.at(static_cast<size_t>(object.label)).at(size_bin(object.box));
  return sizes;
}

Severity severity_of(const Finding& finding) {
  const bool noted = finding.kind == FindingKind::note;
  if (finding.defect == Defect::other)
    return noted                                   ? Severity::note
           : finding.kind == FindingKind::repaired ? Severity::warning
                                                   : Severity::error;
  // Formats without annotation files of empty pictures: there it is no more than a fact.
  if (finding.defect == Defect::annotation_missing && noted) return Severity::note;
  return info(finding.defect).severity;
}

int64_t Diagnosis::count(Severity severity) const {
  return std::count_if(findings.begin(), findings.end(),
                       [&](const Finding& f) { return info(f.defect).severity == severity; });
}

Diagnosis examine(Dataset set, std::vector<PictureList> lists, const DoctorOptions& options) {
  Diagnosis d;
  d.lists = std::move(lists);
  d.set = std::move(set);
  d.findings = std::move(d.set.findings);
  d.set.findings.clear();
  std::set<std::string> wanted;
  for (const ImageRecord& image : d.set.images) wanted.insert(image.path.string());
  for (const PictureList& list : d.lists)
    for (const SplitPicture& picture : list.pictures)
      if (!picture.path.empty()) wanted.insert(picture.path.string());
  const std::vector<std::string> paths(wanted.begin(), wanted.end());
  std::vector<PictureFacts> facts(paths.size());
  kernels::parallel_for(std::ssize(paths), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto at = static_cast<size_t>(i);
      facts[at] = look_at_picture(paths[at], options.deep);
    }
  });
  for (size_t i = 0; i < paths.size(); ++i) d.facts.emplace(paths[i], std::move(facts[i]));
  check_objects(d);
  check_classes(d, options.rare);
  check_pictures(d);
  check_copies(d);
  check_ids(d);
  d.sizes = size_histograms(d.set);
  arrange(d.findings);
  return d;
}

Diagnosis examine_voc(VocOptions voc, const DoctorOptions& options, VocCoordinates* used) {
  voc.lenient = true, voc.strict = false;
  Dataset set = read_voc(voc, used);
  VocLists lists = voc_lists(set.root, voc.split);
  std::move(lists.findings.begin(), lists.findings.end(), std::back_inserter(set.findings));
  if (voc.split == "all") find_unlabelled(set.root, set, set.findings);
  Diagnosis d = examine(std::move(set), std::move(lists.lists), options);
  d.rename = voc.rename;
  return d;
}

Diagnosis examine_dataset(const fs::path& path, const std::string& split, SourceOptions source,
                          const DoctorOptions& options, VocCoordinates* used) {
  if (!source.format) source.format = recognise_format(path);
  if (*source.format == DatasetFormat::voc) {
    VocOptions voc;
    voc.root = path, voc.split = split, voc.coordinates = source.coordinates;
    voc.classes = source.read.classes.keep, voc.rename = source.read.classes.rename;
    return examine_voc(voc, options, used);
  }
  source.read.lenient = true, source.read.strict = false, source.read.pictures = true;
  Dataset set = read_dataset(path, split, source);
  std::vector<PictureList> lists;
  for (const std::string& name : dataset_splits(path, *source.format)) {
    PictureList list{name, {}};
    const Dataset other = name == split ? Dataset() : read_dataset(path, name, source);
    for (const ImageRecord& image : (name == split ? set : other).images)
      list.pictures.push_back(
          {image.id, image.path, (image.annotation.empty() ? path : image.annotation).string(), 0});
    lists.push_back(std::move(list));
  }
  return examine(std::move(set), std::move(lists), options);
}

}  // namespace frcnn
