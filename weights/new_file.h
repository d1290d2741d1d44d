#pragma once

#include <cstdint>
#include <filesystem>

namespace frcnn {

/// A file that appears as a whole or not at all: written as "<file>.tmp" beside it, synced to the
/// disk and renamed by commit(). Without commit() nothing is left. Errors name the file.
class NewFile {
 public:
  explicit NewFile(std::filesystem::path file);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write(const void* data, uint64_t bytes);
  void commit();

 private:
  [[noreturn]] void fail_with(int reason) const;

  std::filesystem::path file_, temporary_;
  int descriptor_ = -1;
};

}  // namespace frcnn
