#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "kernels/launch/check.h"
#include "weights/weight_file.h"

namespace frcnn::fuzz {

/// The fuzzer's bytes as a file in memory, which readers open by its path.
class MemoryFile {
 public:
  MemoryFile(const uint8_t* data, size_t size) : descriptor_(memfd_create("fuzz", MFD_CLOEXEC)) {
    if (descriptor_ < 0) std::abort();
    for (size_t done = 0; done < size;) {
      const ssize_t written = write(descriptor_, data + done, size - done);
      if (written <= 0) std::abort();
      done += static_cast<size_t>(written);
    }
  }
  ~MemoryFile() { close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

/// Opens a file with `open` and reads all of it: each array as a whole if it is not large, and its
/// last row alone. Errors are what is expected of a damaged file; anything else is a finding.
template <typename Open>
int read_file(const uint8_t* data, size_t size, Open&& open) {
  constexpr int64_t kLarge = 1 << 20;
  const MemoryFile file(data, size);
  try {
    const std::unique_ptr<WeightFile> weights = open(file.path());
    int64_t total = 0;
    for (const WeightEntry& entry : weights->entries()) {
      const int64_t elements = entry.shape.numel();
      if (elements > kLarge || (total += elements) > 4 * kLarge) continue;
      weights->read(entry);
      if (entry.shape.rank() > 0 && elements > 0) {
        std::vector<float> row(static_cast<size_t>(elements / entry.shape[0]));
        weights->read_rows(entry, entry.shape[0] - 1, 1, row.data());
      }
    }
  } catch (const Error&) {
    return 0;
  }
  return 0;
}

}  // namespace frcnn::fuzz
