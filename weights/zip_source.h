#pragma once

#include <optional>

#include "weights/byte_source.h"
#include "weights/zip_archive.h"

namespace frcnn {

/// An entry of a zip archive. Reading on from where the last read ended is cheap; going back starts
/// the entry again. Not for several threads at once.
class ZipSource final : public ByteSource {
 public:
  ZipSource(const ZipArchive& archive, int64_t index)
      : archive_(archive),
        index_(index),
        size_(archive.entries()[static_cast<size_t>(index)].size) {}

  uint64_t size() const override { return size_; }
  void read(uint64_t at, void* out, uint64_t bytes) const override;
  /// Unpacks the rest of the entry, which compares its checksum; does nothing when that was done.
  void verify() const override;

 private:
  const ZipArchive& archive_;
  int64_t index_;
  uint64_t size_;
  mutable std::optional<ZipArchive::Reader> reader_;
  mutable bool verified_ = false;
};

}  // namespace frcnn
