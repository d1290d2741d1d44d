#include "data/csv.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "data/files.h"
#include "kernels/launch/check.h"

namespace frcnn {
namespace fs = std::filesystem;
namespace {

enum Column {
  kPath,
  kX1,
  kY1,
  kX2,
  kY2,
  kClass,
  kWidth,
  kHeight,
  kDifficult,
  kTruncated,
  kCrowd,
  kArea,
  kColumns
};
constexpr const char* kHeader = "path,xmin,ymin,xmax,ymax,class";

const std::map<std::string, Column>& column_names() {
  static const std::map<std::string, Column> names = {{"path", kPath},
                                                      {"filename", kPath},
                                                      {"file_name", kPath},
                                                      {"image", kPath},
                                                      {"image_path", kPath},
                                                      {"xmin", kX1},
                                                      {"x1", kX1},
                                                      {"ymin", kY1},
                                                      {"y1", kY1},
                                                      {"xmax", kX2},
                                                      {"x2", kX2},
                                                      {"ymax", kY2},
                                                      {"y2", kY2},
                                                      {"class", kClass},
                                                      {"label", kClass},
                                                      {"name", kClass},
                                                      {"class_name", kClass},
                                                      {"width", kWidth},
                                                      {"height", kHeight},
                                                      {"difficult", kDifficult},
                                                      {"truncated", kTruncated},
                                                      {"crowd", kCrowd},
                                                      {"iscrowd", kCrowd},
                                                      {"area", kArea}};
  return names;
}

/// One record: its fields, and the line it begins on.
struct Record {
  std::vector<std::string> fields;
  int line = 0;
};

/// Splits text into records by RFC 4180: quoted fields may hold commas, line ends and doubled
/// quotes. Blank lines are skipped.
std::vector<Record> records_of(std::string_view text, const fs::path& file) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::vector<Record> records;
  int line = 1;
  for (size_t at = 0; at < text.size();) {
    Record record;
    record.line = line;
    bool more = true;
    while (more) {
      std::string field;
      const bool quoted = at < text.size() && text[at] == '"';
      if (quoted) {
        for (++at;; ++at) {
          check(at < text.size(), "{}:{}: a quoted field does not end", file.string(), record.line);
          if (text[at] == '"' && (at + 1 >= text.size() || text[at + 1] != '"')) break;
          at += text[at] == '"';
          line += text[at] == '\n';
          field += text[at];
        }
        ++at;
      }
      const size_t end = std::min(text.find_first_of(",\n", at), text.size());
      field += trimmed(text.substr(at, end - at));
      record.fields.push_back(std::move(field));
      more = end < text.size() && text[end] == ',';
      at = end + 1;
    }
    ++line;
    if (record.fields.size() > 1 || !record.fields.front().empty())
      records.push_back(std::move(record));
  }
  return records;
}

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

class Reader {
 public:
  Reader(const fs::path& file, const ReadOptions& options, VocCoordinates coordinates)
      : file_(file), options_(options), coordinates_(coordinates) {
    if (coordinates_ == VocCoordinates::detect) coordinates_ = VocCoordinates::edges;
  }

  Dataset run() {
    dataset_.root = file_.parent_path();
    dataset_.name = file_.lexically_normal().string();
    const std::string text = read_text(file_);
    std::vector<Record> records = records_of(text, file_);
    check(!records.empty(), "{}: expected lines {}, found none", file_.string(), kHeader);
    if (read_header(records.front())) records.erase(records.begin());
    note_coordinates();
    settle_classes(records);
    for (const Record& record : records) add(record);
    classes_->report(dataset_.findings, file_);
    if (!options_.lenient) throw_errors(dataset_.findings, options_.strict);
    std::erase_if(dataset_.images, [](const ImageRecord& image) { return image.width <= 0; });
    set_distinct_ids(dataset_.images, dataset_.root);
    return std::move(dataset_);
  }

 private:
  void error(Defect defect, int line, std::string message) {
    report(dataset_.findings, FindingKind::error, defect, {file_, line}, std::move(message));
  }

  /// False: the record is an object, and columns are path,x1,y1,x2,y2,class.
  bool read_header(const Record& record) {
    std::vector<std::string> unknown;
    for (size_t i = 0; i < record.fields.size(); ++i) {
      const auto found = column_names().find(lower(record.fields[i]));
      if (found == column_names().end())
        unknown.push_back(record.fields[i]);
      else if (at_[found->second] < 0)
        at_[found->second] = static_cast<int>(i);
    }
    const bool object =
        record.fields.size() == 6 && (parse_number(record.fields[1]) || record.fields[1].empty());
    if (object) {
      std::fill(std::begin(at_), std::end(at_), -1);
      for (int i = kPath; i <= kClass; ++i) at_[i] = i;
      return false;
    }
    constexpr const char* kNames[] = {"path", "xmin", "ymin", "xmax", "ymax", "class"};
    for (int i = kPath; i <= kClass; ++i)
      check(at_[i] >= 0,
            "{}:{}: expected a header with the columns {}, or lines path,x1,y1,x2,y2,class; found "
            "no column '{}' in '{}'",
            file_.string(), record.line, kHeader, kNames[i],
            fmt::format("{}", fmt::join(record.fields, ",")));
    return true;
  }

  void note_coordinates() {
    const char* name = coordinates_ == VocCoordinates::zero_based  ? "0-based pixels"
                       : coordinates_ == VocCoordinates::one_based ? "1-based pixels"
                                                                   : "positions of edges";
    report(dataset_.findings, FindingKind::note, Defect::coordinates, {file_, 0},
           fmt::format("coordinates are read as {} (data.coordinates)", name));
  }

  std::string_view field(const Record& record, Column column) const {
    const int at = at_[column];
    if (at < 0 || static_cast<size_t>(at) >= record.fields.size()) return {};
    return record.fields[static_cast<size_t>(at)];
  }

  void settle_classes(const std::vector<Record>& records) {
    std::set<std::string> names;
    for (const Record& record : records)
      if (const std::string_view name = field(record, kClass); !name.empty()) names.emplace(name);
    classes_.emplace(options_.classes, std::vector<std::string>(names.begin(), names.end()),
                     dataset_);
  }

  void add(const Record& record) {
    const std::string path(field(record, kPath));
    if (path.empty())
      return error(Defect::object_broken, record.line, "expected a path, found none");
    const auto [entry, added] = images_.try_emplace(path, dataset_.images.size());
    if (added) add_image(record, path);
    bool any = false, all = true;
    std::array<double, 4> corners{};
    for (size_t i = 0; i < 4; ++i) {
      const std::string_view text = field(record, static_cast<Column>(kX1 + i));
      any = any || !text.empty();
      const auto value = parse_number(text);
      all = all && value;
      corners[i] = value.value_or(0);
    }
    const std::string name(field(record, kClass));
    if (!any && name.empty()) return;  // a picture without objects
    if (!all || name.empty())
      return error(Defect::object_broken, record.line,
                   fmt::format("expected 4 numbers and a class (or none of them), found '{}'",
                               fmt::join(record.fields, ",")));
    add_object(record, name, corners, dataset_.images[entry->second]);
  }

  void add_image(const Record& record, const std::string& path) {
    ImageRecord image;
    image.annotation = file_;
    std::error_code ignored;
    for (const char* folder : {"", "images", "JPEGImages"}) {
      image.path = dataset_.root / folder / path;
      if (fs::is_regular_file(image.path, ignored)) break;
    }
    const double width = parse_number(field(record, kWidth)).value_or(0);
    const double height = parse_number(field(record, kHeight)).value_or(0);
    const bool there = fs::is_regular_file(image.path, ignored);
    if (!there) image.path = dataset_.root / path;
    if (!there && (options_.pictures || width < 1 || height < 1)) {
      error(Defect::picture_missing, record.line,
            fmt::format("picture {} does not exist", image.path.string()));
    } else {
      const auto stored = settle_size(image,
                                      {width,
                                       height,
                                       width >= 1 && height >= 1,
                                       {file_, record.line},
                                       "the size",
                                       image.path.filename().string() + ": "},
                                      options_.pictures, dataset_.findings);
      if (stored) stored_.emplace(dataset_.images.size(), *stored);
    }
    dataset_.images.push_back(std::move(image));
  }

  void add_object(const Record& record, const std::string& name, std::array<double, 4> corners,
                  ImageRecord& image) {
    const Place place{file_, record.line};
    const int label = classes_->label(name);
    if (label < 0) return classes_->left_out(name, place);
    if (image.width <= 0) return;
    if (coordinates_ == VocCoordinates::one_based) corners[0] -= 1, corners[1] -= 1;
    if (coordinates_ == VocCoordinates::zero_based) corners[2] += 1, corners[3] += 1;
    const auto turned = stored_.find(static_cast<size_t>(&image - dataset_.images.data()));
    const auto box = fit_box(name, corners, image,
                             turned == stored_.end() ? std::nullopt : std::optional(turned->second),
                             0, place, "", dataset_.findings);
    if (!box) return;
    const auto flag = [&](Column column) {
      const std::string value = lower(std::string(field(record, column)));
      return value == "1" || value == "true";
    };
    Object object;
    object.box = *box, object.label = label, object.line = record.line;
    object.difficult = flag(kDifficult), object.truncated = flag(kTruncated);
    object.crowd = flag(kCrowd);
    object.area = parse_number(field(record, kArea)).value_or(-1);
    image.objects.push_back(object);
  }

  const fs::path& file_;
  const ReadOptions& options_;
  VocCoordinates coordinates_;
  Dataset dataset_;
  std::optional<ClassLookup> classes_;
  std::map<std::string, size_t> images_;  // by path as written
  std::map<size_t, ImageInfo> stored_;    // of pictures whose boxes have to be turned
  int at_[kColumns] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
};

}  // namespace

Dataset read_csv(const fs::path& file, const ReadOptions& options, VocCoordinates coordinates) {
  return Reader(file, options, coordinates).run();
}

}  // namespace frcnn
