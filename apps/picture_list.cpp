#include "apps/picture_list.h"

#include <glob.h>

#include <algorithm>
#include <array>
#include <istream>
#include <set>

#include "data/image.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

namespace fs = std::filesystem;

template <typename Iterator>
std::vector<fs::path> pictures_of(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : Iterator(folder))
    if (entry.is_regular_file() && has_image_extension(entry.path())) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  check(!files.empty(), "{}: holds no pictures (.jpg .jpeg .png .bmp .gif .ppm .pgm)",
        folder.string());
  return files;
}

std::vector<fs::path> matches_of(const std::string& pattern) {
  glob_t matches{};
  const int status = glob(pattern.c_str(), 0, nullptr, &matches);
  std::vector<fs::path> files;
  for (size_t i = 0; i < matches.gl_pathc; ++i)
    if (!fs::is_directory(matches.gl_pathv[i])) files.emplace_back(matches.gl_pathv[i]);
  globfree(&matches);
  check(status == 0 && !files.empty(), "{}: there is no such picture, folder or pattern", pattern);
  return files;
}

std::vector<fs::path> files_of_list(std::istream& list) {
  std::vector<fs::path> files;
  std::string line;
  for (int number = 1; std::getline(list, line); ++number) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty()) continue;
    check(fs::is_regular_file(line), "standard input, line {}: '{}' is not a file", number, line);
    files.emplace_back(line);
  }
  check(!files.empty(), "standard input: names no picture; expected one file per line");
  return files;
}

}  // namespace

std::vector<fs::path> find_pictures(const std::vector<std::string>& arguments, bool recursive,
                                    std::istream& list) {
  std::vector<fs::path> files;
  std::set<fs::path> seen;
  const auto add = [&](const std::vector<fs::path>& more) {
    for (const fs::path& file : more)
      if (seen.insert(file).second) files.push_back(file);
  };
  for (const std::string& argument : arguments) {
    if (argument == "-")
      add(files_of_list(list));
    else if (fs::is_directory(argument))
      add(recursive ? pictures_of<fs::recursive_directory_iterator>(argument)
                    : pictures_of<fs::directory_iterator>(argument));
    else if (fs::exists(argument))
      add({argument});
    else
      add(matches_of(argument));
  }
  return files;
}

bool has_video_extension(const fs::path& path) {
  constexpr std::array kExtensions = {".mp4",  ".m4v", ".mkv", ".avi", ".mov", ".webm",
                                      ".mpeg", ".mpg", ".wmv", ".flv", ".ts",  ".3gp"};
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end();
}

std::vector<std::string> result_names(const std::vector<fs::path>& files) {
  std::vector<std::string> names;
  std::set<std::string> used;
  for (const fs::path& file : files) {
    std::string name = file.stem().string();
    for (int i = 2; !used.insert(name).second; ++i)
      name = fmt::format("{}-{}", file.stem().string(), i);
    names.push_back(name);
  }
  return names;
}

}  // namespace frcnn::apps
