#include "data/yolo.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "data/files.h"
#include "data/image.h"
#include "data/splits.h"
#include "kernels/launch/check.h"

namespace frcnn {
namespace fs = std::filesystem;
namespace {

constexpr const char* kLine = "class cx cy width height";

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  for (size_t at = 0; (at = line.find_first_not_of(" \t\r", at)) != std::string_view::npos;) {
    const size_t end = std::min(line.find_first_of(" \t\r", at), line.size());
    words.push_back(line.substr(at, end - at));
    at = end;
  }
  return words;
}

class Reader {
 public:
  Reader(const YoloLayout& layout, const ReadOptions& options)
      : layout_(layout), options_(options) {}

  Dataset run(const std::string& split) {
    dataset_.root = layout_.root;
    dataset_.name = fmt::format("{} ({})", layout_.root.lexically_normal().string(), split);
    classes_.emplace(options_.classes, layout_.classes, dataset_);
    std::vector<std::string> available;
    for (const auto& [name, sources] : layout_.splits) available.push_back(name);
    for (const std::string& name : resolve_split(available, split, layout_.source.string()))
      for (const fs::path& source : layout_.splits.at(name)) add_source(source);
    if (without_labels_ > 0)
      report(dataset_.findings, FindingKind::note, Defect::annotation_missing, {},
             fmt::format("{}: {} pictures have no label file: pictures without objects",
                         dataset_.name, without_labels_));
    if (polygons_ > 0)
      report(dataset_.findings, FindingKind::note, Defect::other, {},
             fmt::format("{}: {} objects are polygons; their bounding boxes are read",
                         dataset_.name, polygons_));
    classes_->report(dataset_.findings, layout_.source);
    if (!options_.lenient) throw_errors(dataset_.findings, options_.strict);
    std::erase_if(dataset_.images, [](const ImageRecord& image) { return image.width <= 0; });
    set_distinct_ids(dataset_.images, dataset_.root);
    return std::move(dataset_);
  }

 private:
  void error(Defect defect, const Place& place, std::string message) {
    report(dataset_.findings, FindingKind::error, defect, place, std::move(message));
  }

  void add_source(const fs::path& source) {
    std::error_code ignored;
    if (!fs::is_directory(source, ignored)) return add_list(source);
    std::vector<fs::path> pictures;
    for (const auto& entry : fs::recursive_directory_iterator(
             source, fs::directory_options::follow_directory_symlink, ignored))
      if (has_image_extension(entry.path()) && entry.is_regular_file(ignored))
        pictures.push_back(entry.path());
    check(!pictures.empty(), "{}: expected pictures, found {}", source.string(),
          folder_contents(source));
    std::sort(pictures.begin(), pictures.end());
    for (const fs::path& picture : pictures) add_picture(picture);
  }

  /// A .txt file with one picture per line, relative to its folder or to the data set's.
  void add_list(const fs::path& list) {
    const std::string text = read_text(list);
    int number = 0;
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size());
      const std::string name(trimmed(std::string_view(text).substr(at, end - at)));
      at = end + 1;
      ++number;
      if (name.empty()) continue;
      fs::path picture = list.parent_path() / name;
      std::error_code ignored;
      if (!fs::is_regular_file(picture, ignored)) picture = layout_.root / name;
      if (fs::is_regular_file(picture, ignored))
        add_picture(picture.lexically_normal());
      else
        error(Defect::picture_missing, {list, number},
              fmt::format("picture {} does not exist", picture.string()));
    }
  }

  void add_picture(const fs::path& path) {
    ImageRecord image;
    image.path = path;
    settle_size(image, {0, 0, false, {}, "", ""}, true, dataset_.findings);
    const fs::path labels = yolo_label_file(path);
    std::error_code ignored;
    if (fs::exists(labels, ignored)) {
      image.annotation = labels;
      read_labels(labels, image);
    } else {
      ++without_labels_;
    }
    dataset_.images.push_back(std::move(image));
  }

  void read_labels(const fs::path& file, ImageRecord& image) {
    const std::string text = read_text(file);
    int number = 0;
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size());
      const std::string_view line = std::string_view(text).substr(at, end - at);
      at = end + 1;
      ++number;
      const auto words = words_of(line);
      if (!words.empty()) read_object(words, {file, number}, image);
    }
  }

  void read_object(const std::vector<std::string_view>& words, const Place& place,
                   ImageRecord& image) {
    std::vector<double> values;
    for (const std::string_view word : words)
      if (const auto value = parse_number(word)) values.push_back(*value);
    const size_t coordinates = words.size() - 1;
    const bool polygon = coordinates >= 6 && coordinates % 2 == 0;
    if (values.size() != words.size() || (coordinates != 4 && !polygon))
      return error(Defect::object_broken, place,
                   fmt::format("expected '{}', found '{}'", kLine,
                               fmt::format("{}", fmt::join(words, " ")).substr(0, 80)));
    const double index = values[0];
    if (index != std::floor(index) || index < 0 ||
        index >= static_cast<double>(layout_.classes.size()))
      return error(Defect::class_unknown, place,
                   fmt::format("expected a class of 0 to {} ({} names in {}), found {}",
                               layout_.classes.size() - 1, layout_.classes.size(),
                               layout_.source.filename().string(), words[0]));
    const std::string& name = layout_.classes[static_cast<size_t>(index)];
    const int label = classes_->label(name);
    if (label < 0) return classes_->left_out(name, place);
    if (image.width <= 0) return;
    std::array<double, 4> c{};
    if (polygon) {
      ++polygons_;
      c = {values[1], values[2], values[1], values[2]};
      for (size_t i = 1; i + 1 < values.size(); i += 2) {
        c[0] = std::min(c[0], values[i]), c[2] = std::max(c[2], values[i]);
        c[1] = std::min(c[1], values[i + 1]), c[3] = std::max(c[3], values[i + 1]);
      }
    } else {
      if (values[3] < 0 || values[4] < 0)
        return error(Defect::object_broken, place,
                     fmt::format("expected a width and height of at least 0, found {:g} and {:g}",
                                 values[3], values[4]));
      c = {values[1] - values[3] / 2, values[2] - values[4] / 2, values[1] + values[3] / 2,
           values[2] + values[4] / 2};
    }
    const bool pixels =
        std::any_of(values.begin() + 1, values.end(), [](double v) { return v > 2; });
    c = {c[0] * image.width, c[1] * image.height, c[2] * image.width, c[3] * image.height};
    const auto box = fit_box(name, c, image, {}, kYoloSlack, place,
                             pixels ? "shares of the picture are expected, not pixels: " : "",
                             dataset_.findings);
    if (!box) return;
    Object object;
    object.box = *box, object.label = label, object.line = place.line;
    image.objects.push_back(object);
  }

  const YoloLayout& layout_;
  const ReadOptions& options_;
  Dataset dataset_;
  std::optional<ClassLookup> classes_;
  int64_t without_labels_ = 0, polygons_ = 0;
};

}  // namespace

fs::path yolo_label_file(const fs::path& picture) {
  std::vector<fs::path> parts(picture.begin(), picture.end());
  for (size_t i = parts.size(); i-- > 0;) {
    if (i + 1 == parts.size() || parts[i] != "images") continue;
    parts[i] = "labels";
    break;
  }
  fs::path labels;
  for (const fs::path& part : parts) labels /= part;
  return labels.replace_extension(".txt");
}

Dataset read_yolo(const YoloLayout& layout, const std::string& split, const ReadOptions& options) {
  return Reader(layout, options).run(split);
}

}  // namespace frcnn
