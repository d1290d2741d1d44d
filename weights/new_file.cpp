#include "weights/new_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "kernels/launch/check.h"

namespace frcnn {

NewFile::NewFile(std::filesystem::path file) : file_(std::move(file)), temporary_(file_) {
  temporary_ += ".tmp";
  descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail_with(errno);
}

NewFile::~NewFile() {
  if (descriptor_ < 0) return;
  close(descriptor_);
  unlink(temporary_.c_str());
}

void NewFile::fail_with(int reason) const {
  fail("{}: cannot be written: {}", file_.string(), std::strerror(reason));
}

void NewFile::write(const void* data, uint64_t bytes) {
  const auto* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t done = ::write(descriptor_, from, bytes);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail_with(errno);
    from += done;
    bytes -= static_cast<uint64_t>(done);
  }
}

void NewFile::commit() {
  if (fsync(descriptor_) != 0) fail_with(errno);
  if (std::rename(temporary_.c_str(), file_.c_str()) != 0) fail_with(errno);
  const int descriptor = descriptor_;
  descriptor_ = -1;
  if (close(descriptor) != 0) fail_with(errno);
  // The folder's entry survives a power failure too, where the file system can sync folders.
  const std::filesystem::path folder = file_.has_parent_path() ? file_.parent_path() : ".";
  const int parent = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (parent < 0) return;
  fsync(parent);
  close(parent);
}

}  // namespace frcnn
