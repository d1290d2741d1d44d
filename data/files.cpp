#include "data/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

template <typename Bytes>
Bytes read_up_to(const std::filesystem::path& path, size_t limit = SIZE_MAX) {
  std::error_code ignored;
  // fopen() succeeds on folders; only reading them fails, with a puzzling reason.
  check(!std::filesystem::is_directory(path, ignored), "{}: expected a file, found a folder",
        path.string());
  const std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path.c_str(), "rb"));
  check(file != nullptr, "{}: cannot be read: {}", path.string(), std::strerror(errno));
  Bytes bytes;
  size_t used = 0;
  for (size_t step = size_t{1} << 16; used < limit; step = std::min(step * 2, size_t{1} << 24)) {
    step = std::min(step, limit - used);
    bytes.resize(used + step);
    const size_t got = std::fread(bytes.data() + used, 1, step, file.get());
    used += got;
    if (got < step) break;
  }
  check(!std::ferror(file.get()), "{}: cannot be read: {}", path.string(), std::strerror(errno));
  bytes.resize(used);
  return bytes;
}

/// Writes all bytes; 0, or the error number.
int write_all(int file, std::span<const uint8_t> bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t wrote = ::write(file, bytes.data() + done, bytes.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return errno;
    done += static_cast<size_t>(wrote);
  }
  return 0;
}

}  // namespace

std::vector<uint8_t> read_bytes(const std::filesystem::path& path) {
  return read_up_to<std::vector<uint8_t>>(path);
}

std::vector<uint8_t> read_bytes(const std::filesystem::path& path, size_t limit) {
  return read_up_to<std::vector<uint8_t>>(path, limit);
}

std::string read_text(const std::filesystem::path& path) {
  return read_up_to<std::string>(path);
}

void write_file(const std::filesystem::path& path, std::span<const uint8_t> bytes) {
  static std::atomic<unsigned> counter{0};
  const std::string temporary =
      fmt::format("{}.{}.{}.tmp", path.string(), ::getpid(), counter.fetch_add(1));
  const int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  check(file >= 0, "{}: cannot be written: {}", path.string(), std::strerror(errno));
  int error = write_all(file, bytes);
  if (::close(file) != 0 && error == 0) error = errno;
  if (error == 0 && std::rename(temporary.c_str(), path.c_str()) != 0) error = errno;
  if (error != 0) {
    ::unlink(temporary.c_str());
    fail("{}: cannot be written: {}", path.string(), std::strerror(error));
  }
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  write_file(path, std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

void write_folder(const std::filesystem::path& folder,
                  const std::function<void(const std::filesystem::path&)>& fill) {
  namespace fs = std::filesystem;
  fs::path target = folder.lexically_normal();
  if (!target.has_filename()) target = target.parent_path();  // a slash at the end
  std::error_code error;
  if (fs::exists(target, error)) {
    check(fs::is_directory(target, error), "{}: expected a new folder, found a file",
          target.string());
    check(fs::is_empty(target, error),
          "{}: expected a new or empty folder, found one with files in it", target.string());
  }
  const fs::path temporary = fmt::format("{}.{}.tmp", target.string(), ::getpid());
  try {
    fs::create_directories(temporary);
    fill(temporary);
    fs::rename(temporary, target);
  } catch (const fs::filesystem_error& failure) {
    fs::remove_all(temporary, error);
    fail("{}: cannot be written: {}", target.string(), failure.code().message());
  } catch (...) {
    fs::remove_all(temporary, error);
    throw;
  }
}

int line_of(std::string_view text, size_t offset) {
  const auto end = text.begin() + static_cast<ptrdiff_t>(std::min(offset, text.size()));
  return 1 + static_cast<int>(std::count(text.begin(), end, '\n'));
}

}  // namespace frcnn
