#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>
#include <string_view>

#include "data/detections_io.h"
#include "data/files.h"
#include "kernels/launch/check.h"

namespace frcnn {
namespace fs = std::filesystem;
namespace {

constexpr const char* kTruthLine = "class left top width height [difficult]";
constexpr const char* kDetectionLine = "class score left top width height";

std::string word_of(std::string name) {
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

/// A class name followed by numbers, and where it stands.
struct Line {
  const fs::path* file = nullptr;
  int number = 0;
  std::string name;
  std::vector<double> values;

  std::string place() const { return fmt::format("{}:{}", file->string(), number); }
  Box box(size_t first) const {
    check(values[first + 2] >= 0 && values[first + 3] >= 0,
          "{}: expected a width and height of at least 0, found {} and {}", place(),
          values[first + 2], values[first + 3]);
    return {static_cast<float>(values[first]), static_cast<float>(values[first + 1]),
            static_cast<float>(values[first] + values[first + 2]),
            static_cast<float>(values[first + 1] + values[first + 3])};
  }
};

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  for (size_t at = 0; (at = text.find_first_not_of(" \t\r", at)) != std::string_view::npos;) {
    const size_t end = std::min(text.find_first_of(" \t\r", at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

/// A number as written in text; from_chars() rejects "+1" and accepts ".5".
bool parse(std::string_view word, double& value) {
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  return error == std::errc{} && end == word.data() + word.size() && std::isfinite(value);
}

std::vector<Line> read_lines(const fs::path& file, const char* layout, size_t least, size_t most) {
  const std::string text = read_text(file);
  std::vector<Line> lines;
  int number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view row = std::string_view(text).substr(at, end - at);
    at = end + 1;
    ++number;
    const std::vector<std::string_view> words = words_of(row);
    if (words.empty()) continue;
    Line line{&file, number, std::string(words[0]), {}};
    bool good = words.size() - 1 >= least && words.size() - 1 <= most;
    for (size_t i = 1; good && i < words.size(); ++i) {
      line.values.push_back(0);
      good = parse(words[i], line.values.back());
    }
    check(good, "{}: expected '{}', found '{}'", line.place(), layout, row.substr(0, 80));
    lines.push_back(std::move(line));
  }
  return lines;
}

std::vector<fs::path> text_files(const fs::path& folder) {
  std::error_code error;
  check(fs::is_directory(folder, error), "{}: expected a folder of text files, found {}",
        folder.string(), fs::exists(folder, error) ? "a file" : "nothing");
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".txt") files.push_back(entry.path());
  check(!files.empty(), "{}: expected files <picture>.txt, found none", folder.string());
  std::sort(files.begin(), files.end());
  return files;
}

int label_of(const Line& line, const std::map<std::string, int>& labels) {
  const auto found = labels.find(line.name);
  if (found != labels.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [name, label] : labels) names.push_back(name);
  fail("{}: class '{}' is not one of {}", line.place(), line.name, fmt::join(names, ", "));
}

std::map<std::string, int> labels_by_word(const std::vector<std::string>& class_names) {
  std::map<std::string, int> labels;
  for (size_t i = 0; i < class_names.size(); ++i)
    labels.emplace(word_of(class_names[i]), static_cast<int>(i));
  return labels;
}

}  // namespace

Dataset read_truth_text(const fs::path& folder, const std::vector<std::string>& classes) {
  const std::vector<fs::path> files = text_files(folder);
  std::vector<std::vector<Line>> lines;
  std::set<std::string> names;
  for (const fs::path& file : files) {
    lines.push_back(read_lines(file, kTruthLine, 4, 5));
    for (const Line& line : lines.back()) names.insert(line.name);
  }
  Dataset dataset;
  dataset.name = folder.lexically_normal().string();
  dataset.root = folder;
  dataset.class_names =
      classes.empty() ? std::vector<std::string>(names.begin(), names.end()) : classes;
  const std::map<std::string, int> labels = labels_by_word(dataset.class_names);
  for (size_t i = 0; i < files.size(); ++i) {
    ImageRecord image;
    image.id = files[i].stem().string();
    image.annotation = files[i];
    for (const Line& line : lines[i]) {
      Object object;
      object.box = line.box(0);
      object.label = label_of(line, labels);
      object.difficult = line.values.size() == 5 && line.values[4] != 0;
      object.line = line.number;
      image.objects.push_back(object);
    }
    dataset.images.push_back(std::move(image));
  }
  return dataset;
}

std::vector<Detection> read_detections_text(const fs::path& folder, const Dataset& truth) {
  const std::map<std::string, int> labels = labels_by_word(truth.class_names);
  std::map<std::string, int64_t> images;
  for (size_t i = 0; i < truth.images.size(); ++i)
    images.emplace(truth.images[i].id, static_cast<int64_t>(i));
  std::vector<Detection> detections;
  for (const fs::path& file : text_files(folder)) {
    const auto image = images.find(file.stem().string());
    check(image != images.end(), "{}: '{}' is no picture of {}", file.string(),
          file.stem().string(), truth.name);
    for (const Line& line : read_lines(file, kDetectionLine, 5, 5))
      detections.push_back(
          {image->second, label_of(line, labels), static_cast<float>(line.values[0]), line.box(1)});
  }
  return detections;
}

void write_detections_text(const fs::path& folder, const Dataset& dataset,
                           const std::vector<Detection>& detections) {
  std::vector<std::string> texts(dataset.images.size());
  for (const Detection& d : detections)
    texts.at(static_cast<size_t>(d.image)) +=
        fmt::format("{} {} {} {} {:.9g} {:.9g}\n",
                    word_of(dataset.class_names.at(static_cast<size_t>(d.label))), d.score,
                    d.box.x1, d.box.y1, double{d.box.x2} - d.box.x1, double{d.box.y2} - d.box.y1);
  std::error_code error;
  fs::create_directories(folder, error);
  check(!error, "{}: cannot be made: {}", folder.string(), error.message());
  for (size_t i = 0; i < texts.size(); ++i)
    write_file(folder / (dataset.images[i].id + ".txt"), texts[i]);
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

void write_detections_csv(const fs::path& path, const Dataset& dataset,
                          const std::vector<Detection>& detections) {
  std::string text = "image,class,score,xmin,ymin,xmax,ymax\n";
  for (const Detection& d : detections)
    text += fmt::format("{},{},{},{},{},{},{}\n",
                        csv_field(dataset.images.at(static_cast<size_t>(d.image)).id),
                        csv_field(dataset.class_names.at(static_cast<size_t>(d.label))), d.score,
                        d.box.x1, d.box.y1, d.box.x2, d.box.y2);
  write_file(path, std::string_view(text));
}

}  // namespace frcnn
