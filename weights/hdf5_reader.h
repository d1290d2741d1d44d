#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "weights/weight_file.h"

namespace frcnn {

/// Reads HDF5 files that nobody vouches for; the readers of Keras files and of checkpoints stand on
/// it. Throws Error that names the file and the object for everything a file of weights has no use
/// for: soft and external links, data in other files, virtual datasets, filters other than deflate,
/// shuffle and Fletcher-32, data types that are no numbers, sizes that the stored bytes cannot
/// hold.
///
/// Paths are relative to the root group, "a/b/c". The HDF5 library is not safe against damaged
/// files, so the constructors first let a child process read all of the file's structure and
/// chunks: where the library would crash, loop or exhaust memory, the file is refused instead.
class Hdf5Reader {
 public:
  explicit Hdf5Reader(const std::filesystem::path& file);
  /// A whole HDF5 file that lies in memory; `name` stands for it in messages.
  Hdf5Reader(std::string image, const std::string& name);
  ~Hdf5Reader();
  Hdf5Reader(Hdf5Reader&&) noexcept;

  /// Whether a chain of hard links leads to an object. Error where a link is of another kind.
  bool exists(const std::string& path) const;
  bool is_group(const std::string& path) const;
  /// Names of a group's members: numbers in names count as numbers, conv_2 before conv_10.
  std::vector<std::string> members(const std::string& path) const;
  /// Number that two paths share exactly when they lead to the same object: shows cycles.
  uint64_t identity(const std::string& path) const;

  bool has_attribute(const std::string& path, const std::string& name) const;
  /// A list of text, or one text as a list of one; Error for an attribute of another type.
  std::vector<std::string> texts(const std::string& path, const std::string& name) const;
  /// One text; nullopt when there is no such attribute.
  std::optional<std::string> text(const std::string& path, const std::string& name) const;

  /// Type and shape of a dataset after all checks, named `name`.
  WeightEntry describe(const std::string& path, const std::string& name) const;
  /// Whether the numbers lie in the file one after the other, unpacked.
  bool is_plain(const std::string& path, const Shape& shape) const;
  /// Rows of the first dimension as float32 (see WeightFile::read_rows). `shape` as describe()
  /// gave it.
  void read_rows(const std::string& path, const Shape& shape, int64_t first, int64_t count,
                 float* out) const;

  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail("{}: {}", name(), fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  struct Impl;
  const std::string& name() const;
  std::unique_ptr<Impl> impl_;
};

}  // namespace frcnn
