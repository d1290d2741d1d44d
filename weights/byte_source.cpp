#include "weights/byte_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kernels/launch/check.h"

namespace frcnn {

RawFile::RawFile(std::filesystem::path path) : path_(std::move(path)) {
  descriptor_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  check(descriptor_ >= 0, "{}: cannot be opened: {}", path_.string(), std::strerror(errno));
  struct stat info {};
  if (fstat(descriptor_, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(descriptor_);
    fail("{}: not a file", path_.string());
  }
  size_ = static_cast<uint64_t>(info.st_size);
}

RawFile::~RawFile() {
  close(descriptor_);
}

void RawFile::read(uint64_t at, void* out, uint64_t bytes) const {
  check(at <= size_ && bytes <= size_ - at, "{}: {} bytes at {} are wanted, but the file has {}",
        path_.string(), bytes, at, size_);
  auto* to = static_cast<char*>(out);
  while (bytes > 0) {
    const ssize_t got = pread(descriptor_, to, bytes, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    check(got >= 0, "{}: cannot be read: {}", path_.string(), std::strerror(errno));
    check(got > 0, "{}: became shorter while it was read", path_.string());
    to += got;
    at += static_cast<uint64_t>(got);
    bytes -= static_cast<uint64_t>(got);
  }
}

SourcePart::SourcePart(const ByteSource& whole, uint64_t begin, uint64_t size)
    : whole_(whole), begin_(begin), size_(size) {
  check(begin <= whole.size() && size <= whole.size() - begin,
        "{} bytes at {} reach beyond the {} bytes of their source", size, begin, whole.size());
}

void SourcePart::read(uint64_t at, void* out, uint64_t bytes) const {
  check(at <= size_ && bytes <= size_ - at, "{} bytes at {} are wanted of a part of {}", bytes, at,
        size_);
  whole_.read(begin_ + at, out, bytes);
}

}  // namespace frcnn
