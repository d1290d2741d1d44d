#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "weights/byte_source.h"
#include "weights/weight_file.h"

namespace frcnn {

/// How an array lies in a source of bytes.
struct StoredArray {
  StoredType type = StoredType::f32;
  Shape shape;
  std::vector<int64_t> strides;  ///< in elements, of each dimension, not negative
  uint64_t begin = 0;            ///< byte where element (0, 0, ...) begins
  bool swapped = false;          ///< big-endian
};

/// Strides of row-major order (C), and of column-major order (Fortran).
std::vector<int64_t> row_major_strides(const Shape& shape);
std::vector<int64_t> column_major_strides(const Shape& shape);

/// Error, beginning with `where`, when the array has elements outside the `bytes` bytes of its
/// source, counted from its byte 0, or repeats elements (strides of zero) so often that reading it
/// takes far more memory than the file has.
void check_inside(const StoredArray& array, uint64_t bytes, const std::string& where);

/// Rows [first, first + count) of an array that passed check_inside(), as float32, row-major. An
/// array of rank 0 has one row. After the last row the source is verified.
void read_rows(const ByteSource& source, const StoredArray& array, int64_t first, int64_t count,
               float* out);

/// A file of weights whose arrays are StoredArrays: all but HDF5.
class StoredArrayFile : public WeightFile {
 public:
  void read_rows(const WeightEntry& entry, int64_t first, int64_t count, float* out) const override;

 protected:
  using WeightFile::WeightFile;
  /// Keeps an array under a name; `source` must live as long as this file. Error when the array
  /// does not lie inside its source.
  void add_array(const std::string& name, StoredArray array, const ByteSource& source);

 private:
  struct Place {
    StoredArray array;
    const ByteSource* source;
  };
  std::vector<Place> places_;  // of entries(), in their order
};

/// `count` values as they lie in a file, to float32. Integers beyond 2^24 and float64 are rounded.
void to_float(StoredType type, bool swapped, const void* values, int64_t count, float* out);

}  // namespace frcnn
