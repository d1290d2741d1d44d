#include "data/coco.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "data/coco_file.h"
#include "kernels/launch/check.h"

namespace frcnn {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kInstances = "instances_";
constexpr const char* kRoboflow = "_annotations.coco.json";

std::string split_of(const fs::path& file) {
  const std::string stem = file.stem().string();
  return stem.starts_with(kInstances) ? stem.substr(kInstances.size()) : stem;
}

class Reader {
 public:
  Reader(const fs::path& file, const ReadOptions& options, const fs::path& pictures)
      : file_(file), options_(options), given_folder_(pictures) {}

  Dataset run() {
    CocoFile content = parse_coco(file_, dataset_.findings);
    dataset_.root = file_.parent_path();
    dataset_.name = file_.lexically_normal().string();
    if (!content.has_annotations)
      note({file_, 0},
           fmt::format("{} has no list 'annotations': pictures without objects", file_.string()));
    settle_classes(content.categories);
    check(!content.images.empty(), "{}: expected pictures in 'images', found none", file_.string());
    find_folder(content.images);
    for (const CocoImage& image : content.images) add_image(image);
    content.images = {};
    for (const CocoAnnotation& annotation : content.annotations) add_object(annotation);
    classes_->report(dataset_.findings, file_);
    if (!options_.lenient) throw_errors(dataset_.findings, options_.strict);
    std::erase_if(dataset_.images, [](const ImageRecord& image) { return image.width <= 0; });
    set_distinct_ids(dataset_.images, folder_);
    return std::move(dataset_);
  }

 private:
  void note(const Place& place, std::string message) {
    report(dataset_.findings, FindingKind::note, Defect::other, place, std::move(message));
  }
  void error(Defect defect, const Place& place, std::string message) {
    report(dataset_.findings, FindingKind::error, defect, place, std::move(message));
  }

  void settle_classes(std::vector<CocoCategory>& categories) {
    std::stable_sort(categories.begin(), categories.end(),
                     [](const CocoCategory& a, const CocoCategory& b) { return a.id < b.id; });
    std::vector<std::string> names;
    for (const CocoCategory& category : categories) {
      if (!names_.emplace(category.id, category.name).second)
        error(Defect::id_duplicate, {file_, category.line},
              fmt::format("category id {} is used a second time, by '{}'", category.id,
                          category.name));
      names.push_back(category.name);
    }
    classes_.emplace(options_.classes, names, dataset_);
    // Of several categories that became one class, the lowest id stands for it.
    std::vector<int64_t> ids(dataset_.class_names.size(), -1);
    for (const CocoCategory& category : categories) {
      const int label = classes_->label(category.name);
      if (label >= 0 && ids[static_cast<size_t>(label)] < 0)
        ids[static_cast<size_t>(label)] = category.id;
    }
    if (std::none_of(ids.begin(), ids.end(), [](int64_t id) { return id < 0; }))
      dataset_.category_ids = std::move(ids);
  }

  /// The first folder that holds one of the first pictures.
  void find_folder(const std::vector<CocoImage>& images) {
    const std::vector<fs::path> folders =
        given_folder_.empty() ? coco_picture_folders(file_) : std::vector<fs::path>{given_folder_};
    constexpr size_t kTried = 20;
    std::error_code error;
    for (const fs::path& folder : folders)
      for (size_t i = 0; i < std::min(images.size(), kTried); ++i)
        if (fs::is_regular_file(folder / images[i].file_name, error)) {
          folder_ = folder;
          return;
        }
    folder_ = folders.front();
    std::vector<std::string> names;
    for (const fs::path& folder : folders) names.push_back(folder.lexically_normal().string());
    check(!options_.pictures, "{}: picture {} is in none of these folders: {}", file_.string(),
          images.front().file_name, fmt::join(names, ", "));
    note({file_, 0}, "the pictures of this file are not there");
  }

  void add_image(const CocoImage& written) {
    const Place place{file_, written.line};
    if (!by_number_.emplace(written.id, dataset_.images.size()).second) {
      error(Defect::id_duplicate, place,
            fmt::format("image id {} is used a second time, by {}", written.id, written.file_name));
      return;
    }
    ImageRecord image;
    image.number = written.id;
    image.path = folder_ / written.file_name;
    image.annotation = file_;
    std::error_code ignored;
    std::optional<ImageInfo> stored;
    if (options_.pictures && !fs::is_regular_file(image.path, ignored)) {
      error(
          Defect::picture_missing, place,
          fmt::format("picture {} of image id {} does not exist", image.path.string(), written.id));
    } else {
      const std::string prefix = image.path.filename().string() + ": ";
      stored = settle_size(image,
                           {written.width, written.height, written.width > 0 && written.height > 0,
                            place, "the size", prefix},
                           options_.pictures, dataset_.findings);
    }
    if (stored) stored_.emplace(dataset_.images.size(), *stored);
    dataset_.images.push_back(std::move(image));
  }

  void add_object(const CocoAnnotation& written) {
    const Place place{file_, written.line};
    const std::string number =
        written.id < 0 ? "an annotation" : fmt::format("annotation {}", written.id);
    const auto leave_out = [&](Defect defect, const std::string& why) {
      report(dataset_.findings, FindingKind::left_out, defect, place,
             fmt::format("{} {}", number, why));
    };
    if (written.id >= 0 && !seen_.insert(written.id).second)
      note(place, fmt::format("annotation id {} is used a second time; both are read", written.id));
    const auto found = by_number_.find(written.image_id);
    if (found == by_number_.end())
      return leave_out(
          Defect::picture_missing,
          fmt::format("has image_id {}, which is no picture of the file", written.image_id));
    const auto category = names_.find(written.category_id);
    if (category == names_.end())
      return leave_out(Defect::class_unknown,
                       fmt::format("has category_id {}, which is none of the {} categories",
                                   written.category_id, names_.size()));
    const int label = classes_->label(category->second);
    if (label < 0) return classes_->left_out(category->second, place);
    ImageRecord& image = dataset_.images[found->second];
    if (image.width <= 0) return;
    const auto& [x, y, w, h] = written.box;
    if (w < 0 || h < 0)
      return leave_out(
          Defect::box_empty,
          fmt::format("'{}' has a negative width or height ({:g}, {:g})", category->second, w, h));
    const std::array<double, 4> corners = {x, y, x + w, y + h};
    const auto turned = stored_.find(found->second);
    const auto box = fit_box(category->second, corners, image,
                             turned == stored_.end() ? std::nullopt : std::optional(turned->second),
                             kCocoSlack, place, number + ": ", dataset_.findings);
    if (!box) return;
    Object object;
    object.box = *box, object.label = label, object.line = written.line;
    object.difficult = written.difficult, object.truncated = written.truncated;
    object.crowd = written.crowd, object.area = written.area;
    image.objects.push_back(object);
  }

  const fs::path& file_;
  const ReadOptions& options_;
  fs::path given_folder_, folder_;
  Dataset dataset_;
  std::optional<ClassLookup> classes_;
  std::unordered_map<int64_t, std::string> names_;
  std::unordered_map<int64_t, size_t> by_number_;
  std::unordered_set<int64_t> seen_;
  std::unordered_map<size_t, ImageInfo> stored_;  // of pictures whose boxes have to be turned
};

bool is_json(const fs::path& path) {
  return path.extension() == ".json" && path.filename().string().front() != '.';
}

/// Annotations of other tasks, which have no boxes of all classes.
bool is_other_task(const std::string& name) {
  for (const char* prefix : {"captions_", "panoptic_", "stuff_", "person_keypoints_"})
    if (name.starts_with(prefix)) return true;
  return false;
}

}  // namespace

std::vector<fs::path> coco_picture_folders(const fs::path& file) {
  const fs::path absolute = fs::absolute(file).lexically_normal();
  const fs::path folder = absolute.parent_path(), above = folder.parent_path();
  const std::string split = split_of(file);
  return {above / split,        above / "images" / split,  folder,           folder / split,
          folder / "images",    folder / "images" / split, above / "images", above,
          above / "JPEGImages", folder / "JPEGImages"};
}

std::vector<CocoSplit> coco_splits(const fs::path& root) {
  std::vector<CocoSplit> named, others;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root / "annotations", error)) {
    const fs::path& path = entry.path();
    if (!is_json(path)) continue;
    const std::string name = path.filename().string();
    if (name.starts_with(kInstances))
      named.push_back({split_of(path), path});
    else if (!is_other_task(name))
      others.push_back({split_of(path), path});
  }
  if (named.empty()) named = std::move(others);
  for (const auto& entry : fs::directory_iterator(root, error)) {
    const fs::path& path = entry.path();
    if (is_json(path) && path.filename().string().starts_with(kInstances))
      named.push_back({split_of(path), path});
    else if (entry.is_directory(error) && fs::is_regular_file(path / kRoboflow, error))
      named.push_back({path.filename().string(), path / kRoboflow});
  }
  std::sort(named.begin(), named.end(),
            [](const CocoSplit& a, const CocoSplit& b) { return a.name < b.name; });
  return named;
}

Dataset read_coco(const fs::path& file, const ReadOptions& options, const fs::path& pictures) {
  return Reader(file, options, pictures).run();
}

}  // namespace frcnn
