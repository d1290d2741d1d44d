#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/tensor.h"

namespace frcnn {

/// Type of the numbers in a file of weights. All are converted to float32 when read.
enum class StoredType : uint8_t { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean };

/// "f64", ..., "bool".
const char* name_of(StoredType type);
/// Bytes of one element.
size_t size_of(StoredType type);

/// How a file orders the dimensions of convolution kernels and dense matrices.
enum class WeightOrder : uint8_t {
  torch,  ///< (out, in, height, width) and (out, in), as this program, Caffe and most ONNX files
  keras,  ///< (height, width, in, out) and (in, out)
};

/// One array of a file.
struct WeightEntry {
  /// As the file spells it, unique; groups are joined by '/'. Keras spells one layer's arrays in
  /// many ways: there it is "<layer>/<array>" ("block1_conv1/kernel"), and `path` is the file's
  /// own.
  std::string name;
  StoredType type = StoredType::f32;
  Shape shape;            ///< as the file has it; rank 0 is one number
  std::string path = {};  ///< where the file has it, when `name` does not say so
};

/// The arrays of a file of weights in any format, listed at once and read one at a time.
///
/// Nothing in a file is trusted: sizes are checked against the file's length before memory is
/// asked for, and no code of a file is ever run. All functions throw Error, which names the file
/// and, where it can, the array, for a file that is cut short, damaged or hostile.
class WeightFile {
 public:
  virtual ~WeightFile() = default;
  WeightFile(const WeightFile&) = delete;
  WeightFile& operator=(const WeightFile&) = delete;

  /// Recognises the format by the content, not by the file's name. Error for a file that is
  /// missing or of no known format; the message lists the known ones.
  static std::unique_ptr<WeightFile> open(const std::filesystem::path& file);

  const std::filesystem::path& path() const { return path_; }
  /// "Keras HDF5", "PyTorch (zip)", "safetensors", ...
  const std::string& format() const { return format_; }
  WeightOrder order() const { return order_; }
  /// In the file's own order.
  const std::vector<WeightEntry>& entries() const { return entries_; }
  /// nullptr when there is none.
  const WeightEntry* find(const std::string& name) const;
  /// What the file says of itself: version of the program that wrote it, training step, ...
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// Reads `count` rows of the first dimension from row `first` on, as float32 in row-major order,
  /// so that an array larger than what memory may hold twice can be read in parts. An array of rank
  /// 0 has one row. Damage that a checksum of the format shows is an Error at the latest when the
  /// last row of an array was read.
  virtual void read_rows(const WeightEntry& entry, int64_t first, int64_t count,
                         float* out) const = 0;
  /// Whether rows of an array may be read out of order at no cost. Otherwise reading an earlier row
  /// than the last one may begin again at the front (packed arrays).
  virtual bool random_access(const WeightEntry& /*entry*/) const { return false; }
  /// The whole array; shape as in the file.
  Tensor read(const WeightEntry& entry) const;

 protected:
  WeightFile(std::filesystem::path path, std::string format, WeightOrder order)
      : path_(std::move(path)), format_(std::move(format)), order_(order) {}

  /// For the constructors of readers: keeps `entry`; Error when the name was there already, or the
  /// shape has a negative size or more elements than an int64 counts.
  void add(WeightEntry entry);

  std::map<std::string, std::string> metadata_;

 private:
  std::filesystem::path path_;
  std::string format_;
  WeightOrder order_;
  std::vector<WeightEntry> entries_;
  std::map<std::string, size_t> by_name_;
};

}  // namespace frcnn
