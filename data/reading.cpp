#include "data/reading.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "data/voc_object.h"
#include "kernels/launch/check.h"

namespace frcnn {
namespace fs = std::filesystem;
namespace {

bool is_background(const std::string& name) {
  return name == "background" || name == "__background__";
}

}  // namespace

const std::string& ClassRules::renamed(const std::string& name) const {
  const auto found = rename.find(name);
  return found == rename.end() ? name : found->second;
}

void report(std::vector<Finding>& findings, FindingKind kind, Defect defect, const Place& place,
            std::string message) {
  findings.push_back({kind, place.file.string(), place.line, std::move(message), defect});
}

ClassLookup::ClassLookup(const ClassRules& rules, const std::vector<std::string>& found,
                         Dataset& dataset)
    : rules_(rules), found_(found) {
  std::set<std::string> unique;
  for (const std::string& name : rules.keep) {
    check(!name.empty(), "[data] expected class names, found an empty one");
    check(unique.insert(name).second, "[data] class '{}' is given twice", name);
    check(!is_background(name), "[data] class lists don't include the background; leave '{}' out",
          name);
  }
  names_ = rules.keep;
  if (names_.empty()) {
    for (const std::string& name : found) {
      const std::string& final_name = rules.renamed(name);
      if (!is_background(final_name) && unique.insert(final_name).second)
        names_.push_back(final_name);
    }
  }
  for (size_t i = 0; i < names_.size(); ++i) labels_[names_[i]] = static_cast<int>(i);
  dataset.class_names = names_;
}

int ClassLookup::label(const std::string& name) const {
  const auto found = labels_.find(rules_.renamed(name));
  return found == labels_.end() ? -1 : found->second;
}

void ClassLookup::left_out(const std::string& name, const Place& place) {
  LeftOut& entry = left_out_.try_emplace(name, LeftOut{place, 0}).first->second;
  ++entry.objects;
}

void ClassLookup::report(std::vector<Finding>& findings, const fs::path& file) const {
  for (const auto& [name, entry] : left_out_)
    frcnn::report(
        findings, FindingKind::left_out, Defect::class_unknown, entry.first,
        fmt::format("{} {} of class '{}', which is not one of the {} wanted ({}); the first "
                    "stands here",
                    entry.objects, entry.objects == 1 ? "object" : "objects", name, names_.size(),
                    fmt::join(names_, ", ")));
  std::set<std::string> there;
  for (const std::string& name : found_) there.insert(rules_.renamed(name));
  for (const std::string& name : rules_.keep)
    if (there.count(name) == 0)
      frcnn::report(
          findings, FindingKind::note, Defect::other, {file, 0},
          fmt::format("class '{}' is wanted, but is no class of {}", name, file.string()));
}

std::optional<ImageInfo> settle_size(ImageRecord& image, const WrittenSize& written,
                                     bool from_picture, std::vector<Finding>& findings) {
  const int w = static_cast<int>(std::lround(written.width));
  const int h = static_cast<int>(std::lround(written.height));
  image.width = w, image.height = h;
  if (!from_picture && w > 0 && h > 0) return {};
  ImageInfo info;
  try {
    info = read_image_info(image.path);
  } catch (const Error& error) {
    // The message names the file.
    report(findings, FindingKind::error, Defect::picture_unreadable, {}, error.what());
    image.width = image.height = 0;
    return {};
  }
  image.width = info.width, image.height = info.height;
  if (!written.given || (w == info.width && h == info.height)) return {};
  if (info.orientation >= 5 && w == info.stored_width && h == info.stored_height) {
    report(findings, FindingKind::repaired, Defect::exif_turned, written.place,
           fmt::format("{}boxes were drawn on the picture as stored ({}x{}), EXIF orientation {} "
                       "turns it to {}x{}; the boxes are turned too",
                       written.prefix, w, h, info.orientation, info.width, info.height));
    return info;
  }
  report(findings, FindingKind::repaired, Defect::size_mismatch, written.place,
         fmt::format("{}{} is {}x{}, the picture is {}x{}; the picture's size is used",
                     written.prefix, written.name, w, h, info.width, info.height));
  return {};
}

std::optional<Box> fit_box(const std::string& name, const std::array<double, 4>& corners,
                           const ImageRecord& image, const std::optional<ImageInfo>& stored,
                           double slack, const Place& place, const std::string& prefix,
                           std::vector<Finding>& findings) {
  VocObject object;
  object.name = name, object.corners = corners, object.line = place.line;
  VocFrame frame;
  frame.coordinates = VocCoordinates::edges;
  frame.width = image.width, frame.height = image.height;
  frame.stored = stored, frame.slack = slack;
  VocVerdict verdict = judge_object(object, frame);
  for (Finding& finding : verdict.findings) {
    finding.file = place.file.string();
    finding.message = prefix + finding.message;
    findings.push_back(std::move(finding));
  }
  return verdict.box;
}

void set_distinct_ids(std::vector<ImageRecord>& images, const fs::path& root) {
  std::map<std::string, int> count;
  for (const ImageRecord& image : images) ++count[image.path.stem().string()];
  for (ImageRecord& image : images) {
    image.id = image.path.stem().string();
    if (count[image.id] < 2) continue;
    fs::path below = image.path.lexically_relative(root);
    if (below.empty()) below = image.path.relative_path();
    std::string id;
    for (const fs::path& part : below.replace_extension())
      if (part != "..") id += (id.empty() ? "" : "_") + part.string();
    image.id = id;
  }
}

std::string folder_contents(const fs::path& folder) {
  std::vector<std::string> files;
  size_t folders = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.is_directory(error))
      ++folders;
    else
      files.push_back(entry.path().filename().string());
  }
  if (files.empty() && folders == 0) return "an empty folder";
  std::sort(files.begin(), files.end());
  const size_t count = files.size();
  files.resize(std::min<size_t>(count, 3));
  const std::string names =
      count == 0 ? "" : fmt::format(" ({}{})", fmt::join(files, ", "), count > 3 ? ", ..." : "");
  return fmt::format("{} files{} and {} folders", count, names, folders);
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::optional<double> parse_number(std::string_view text) {
  text = trimmed(text);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) return {};
  return value;
}

}  // namespace frcnn
