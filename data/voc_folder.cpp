#include "data/voc_folder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <set>
#include <sstream>

#include "data/files.h"
#include "data/reading.h"
#include "data/voc.h"
#include "kernels/launch/check.h"

namespace frcnn {
namespace fs = std::filesystem;
namespace {

std::vector<fs::path> folders_in(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.is_directory(error) && entry.path().filename().string().front() != '.')
      found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  return found;
}

bool is_voc(const fs::path& folder) {
  std::error_code error;
  return fs::is_directory(folder / "Annotations", error);
}

std::vector<SplitEntry> read_split_file(const fs::path& file) {
  std::vector<SplitEntry> entries;
  std::istringstream lines(read_text(file));
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    const size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string::npos) continue;
    const size_t last = line.find_last_not_of(" \t\r");
    entries.push_back({line.substr(first, last - first + 1), file, number});
  }
  check(!entries.empty(), "{}: expected picture names, one per line, found none", file.string());
  return entries;
}

}  // namespace

fs::path find_voc_folder(const fs::path& root) {
  std::error_code error;
  check(fs::exists(root, error), "{}: data folder does not exist", root.string());
  check(fs::is_directory(root, error), "{}: expected a data folder, found a file", root.string());
  if (is_voc(root)) return root;
  std::vector<fs::path> level = folders_in(root);
  for (int depth = 1; depth <= 2; ++depth) {
    std::vector<fs::path> found, next;
    for (const fs::path& folder : level) {
      if (is_voc(folder)) found.push_back(folder);
      for (const fs::path& below : folders_in(folder)) next.push_back(below);
    }
    if (found.size() == 1) return found.front();
    check(found.empty(), "{}: expected one VOC folder, found {}; name one of them", root.string(),
          [&] {
            std::vector<std::string> names;
            for (const fs::path& path : found)
              names.push_back(path.lexically_relative(root).string());
            return fmt::format("{}", fmt::join(names, ", "));
          }());
    level = std::move(next);
  }
  fail("{}: expected a PASCAL VOC folder (Annotations/*.xml, JPEGImages/), found {}", root.string(),
       folder_contents(root));
}

std::vector<std::string> annotation_ids(const fs::path& folder) {
  std::vector<std::string> ids;
  const fs::path annotations = folder / "Annotations";
  for (const auto& entry : fs::directory_iterator(annotations))
    if (entry.path().extension() == ".xml" && entry.path().filename().string().front() != '.')
      ids.push_back(entry.path().stem().string());
  check(!ids.empty(), "{}: expected annotation files *.xml, found {}", annotations.string(),
        folder_contents(annotations));
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::vector<std::string> voc_splits(const fs::path& root) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(find_voc_folder(root) / "ImageSets/Main", error))
    if (entry.path().extension() == ".txt") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  const std::set<std::string> all(names.begin(), names.end());
  // VOC's lists per class are <class>_train.txt and so on, beside train.txt.
  std::erase_if(names, [&](const std::string& name) {
    const size_t at = name.rfind('_');
    return at != std::string::npos && all.count(name.substr(at + 1)) != 0;
  });
  return names;
}

std::vector<SplitEntry> read_split(const fs::path& folder, const std::string& split) {
  const fs::path lists = folder / "ImageSets/Main";
  const auto file = [&](const std::string& name) { return lists / (name + ".txt"); };
  std::error_code error;
  if (fs::exists(file(split), error)) return read_split_file(file(split));
  if (split == "all") {
    std::vector<SplitEntry> entries;
    for (const std::string& id : annotation_ids(folder))
      entries.push_back({id, folder / "Annotations" / (id + ".xml"), 0});
    return entries;
  }
  if (split == "trainval" && fs::exists(file("train"), error) && fs::exists(file("val"), error)) {
    std::vector<SplitEntry> entries = read_split_file(file("train"));
    const std::vector<SplitEntry> val = read_split_file(file("val"));
    entries.insert(entries.end(), val.begin(), val.end());
    return entries;
  }
  const std::vector<std::string> splits = voc_splits(folder);
  fail("{}: split '{}' does not exist; this set has {}", file(split).string(), split,
       splits.empty() ? "no split files: use 'all'"
                      : fmt::format("{}, all", fmt::join(splits, ", ")));
}

fs::path find_picture(const fs::path& folder, const std::string& id, const std::string& filename) {
  constexpr std::array kExtensions = {".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG", ".bmp"};
  const fs::path pictures = folder / "JPEGImages";
  std::error_code error;
  for (const char* extension : kExtensions) {
    const fs::path path = pictures / (id + extension);
    if (fs::is_regular_file(path, error)) return path;
  }
  // Only the last part: annotations often carry a folder of the machine they were made on.
  const fs::path named = pictures / fs::path(filename).filename();
  if (!filename.empty() && fs::is_regular_file(named, error)) return named;
  return {};
}

}  // namespace frcnn
