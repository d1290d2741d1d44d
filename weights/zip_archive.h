#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace frcnn {

/// A zip file that is read entry by entry (libzip). Throws Error that names the archive and the
/// entry: not a zip file, encrypted, cut short, checksum wrong, an unpacked size that the packed
/// one cannot have.
class ZipArchive {
 public:
  struct Entry {
    std::string name;
    uint64_t size = 0;  ///< unpacked bytes
  };
  explicit ZipArchive(const std::filesystem::path& file);
  ~ZipArchive();
  ZipArchive(ZipArchive&&) noexcept;
  ZipArchive& operator=(ZipArchive&&) noexcept;

  const std::vector<Entry>& entries() const;
  /// Index in entries(); -1 when there is none.
  int64_t find(const std::string& name) const;
  /// A whole entry, unpacked.
  std::string read(int64_t index) const;

  /// Unpacks one entry from the front, so that large ones need not be in memory twice. Reaching the
  /// end checks the entry's checksum.
  class Reader {
   public:
    Reader(const ZipArchive& archive, int64_t index);
    ~Reader();
    Reader(Reader&&) noexcept;
    Reader& operator=(Reader&&) noexcept;
    /// Exactly `bytes` bytes; Error when the entry has fewer left.
    void read(void* out, uint64_t bytes);
    void skip(uint64_t bytes);
    uint64_t position() const;

   private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
  };

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace frcnn
