#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace frcnn {

/// Bytes that can be read from anywhere: a file, a part of one, an entry of an archive. Errors name
/// the file.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  virtual uint64_t size() const = 0;
  /// Bytes [at, at + bytes); Error when the source has fewer.
  virtual void read(uint64_t at, void* out, uint64_t bytes) const = 0;
  /// Compares the checksum of the whole source, if it has one that was not compared yet.
  virtual void verify() const {}

 protected:
  ByteSource() = default;
};

/// A file on disk. Read with pread(), not mapped: its pages do not count as the program's memory,
/// and a file that another program cuts short is an Error, not a signal.
class RawFile final : public ByteSource {
 public:
  explicit RawFile(std::filesystem::path path);
  ~RawFile() override;

  uint64_t size() const override { return size_; }
  void read(uint64_t at, void* out, uint64_t bytes) const override;
  const std::filesystem::path& path() const { return path_; }
  /// For libraries that read from a file descriptor.
  int descriptor() const { return descriptor_; }

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

/// A part of another source.
class SourcePart final : public ByteSource {
 public:
  SourcePart(const ByteSource& whole, uint64_t begin, uint64_t size);
  uint64_t size() const override { return size_; }
  void read(uint64_t at, void* out, uint64_t bytes) const override;
  void verify() const override { whole_.verify(); }

 private:
  const ByteSource& whole_;
  uint64_t begin_, size_;
};

}  // namespace frcnn
