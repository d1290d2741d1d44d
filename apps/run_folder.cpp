#include "apps/run_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "apps/model_file.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {

namespace fs = std::filesystem;

void RunFolder::check_writable() const {
  // The nearest folder that exists decides whether the others can be made.
  fs::path folder = fs::absolute(root_);
  while (!fs::exists(folder) && folder.has_relative_path()) folder = folder.parent_path();
  check(fs::is_directory(folder), "{}: is no folder", folder.string());
  std::string name = (folder / ".frcnn-write-test-XXXXXX").string();
  const int fd = mkstemp(name.data());
  const int reason = errno;
  check(fd >= 0, "{}: the output folder cannot be written: {}", root_.string(),
        std::strerror(reason));
  // A full disk often still takes new names, but no content.
  const std::vector<char> content(65536, 'x');
  const bool written =
      write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size()) &&
      fsync(fd) == 0;
  const int write_reason = errno;
  close(fd);
  unlink(name.c_str());
  check(written, "{}: the output folder cannot be written: {}", root_.string(),
        std::strerror(write_reason));
}

bool RunFolder::empty() const {
  if (!fs::is_directory(root_)) return !fs::exists(root_);
  const fs::directory_iterator files(root_);
  return std::all_of(begin(files), end(files), [](const fs::directory_entry& entry) {
    return entry.path().filename() == kOutput;
  });
}

void RunFolder::create() const {
  std::error_code error;
  fs::create_directories(checkpoints(), error);
  check(!error, "{}: cannot make the folder: {}", checkpoints().string(), error.message());
}

std::vector<fs::path> RunFolder::list() const {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(checkpoints(), error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && name.ends_with(".h5")) files.push_back(entry.path());
  }
  // By step: names have eight digits, more where a run is longer.
  std::sort(files.begin(), files.end(), [](const fs::path& a, const fs::path& b) {
    const std::string x = a.filename().string(), y = b.filename().string();
    return x.size() != y.size() ? x.size() < y.size() : x < y;
  });
  return files;
}

std::optional<fs::path> RunFolder::newest() const {
  const auto files = list();
  return files.empty() ? std::nullopt : std::optional(files.back());
}

void RunFolder::save(const Checkpoint& checkpoint, int64_t step, int keep) const {
  const fs::path file = checkpoints() / fmt::format("step-{:08}.h5", step);
  save_checkpoint(file, checkpoint);
  // A second name costs no space; where the file system has no links, a copy does.
  const fs::path temporary = root_ / "model.h5.tmp";
  std::error_code error;
  fs::remove(temporary, error);
  fs::create_hard_link(file, temporary, error);
  if (error) fs::copy_file(file, temporary, fs::copy_options::overwrite_existing, error);
  if (!error && fs::exists(model()) && fs::equivalent(temporary, model()))
    fs::remove(temporary, error);
  else if (!error)
    fs::rename(temporary, model(), error);
  check(!error, "{}: cannot be written: {}", model().string(), error.message());
  const auto files = list();
  for (size_t i = 0; i + static_cast<size_t>(keep) < files.size(); ++i) fs::remove(files[i], error);
}

fs::path model_file(const fs::path& argument) {
  if (!fs::is_directory(argument)) return argument;
  const RunFolder run(argument);
  check(fs::exists(run.model()), "{}: holds no model.h5, so it is not the folder of a run",
        argument.string());
  return run.model();
}

}  // namespace frcnn::apps
