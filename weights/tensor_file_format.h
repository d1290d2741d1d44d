#pragma once

#include <hdf5.h>

#include "engine/tensor.h"

// What the writer and the reader of tensor files share (weights/FORMAT.md).
namespace frcnn::tensor_file_format {

/// Largest chunk of a dataset; a row longer than this is a chunk of its own.
inline constexpr hsize_t kChunkBytes = hsize_t{1} << 20;

/// Type in the file, always little-endian.
inline hid_t file_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return H5T_IEEE_F32LE;
    case DType::f64:
      return H5T_IEEE_F64LE;
    case DType::i32:
      return H5T_STD_I32LE;
    case DType::i64:
      return H5T_STD_I64LE;
    case DType::u8:
      return H5T_STD_U8LE;
    case DType::i8:
      return H5T_STD_I8LE;
    case DType::bf16:
      break;  // not stored
  }
  return -1;
}

inline hid_t memory_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return H5T_NATIVE_FLOAT;
    case DType::f64:
      return H5T_NATIVE_DOUBLE;
    case DType::i32:
      return H5T_NATIVE_INT32;
    case DType::i64:
      return H5T_NATIVE_INT64;
    case DType::u8:
      return H5T_NATIVE_UINT8;
    case DType::i8:
      return H5T_NATIVE_INT8;
    case DType::bf16:
      break;
  }
  return -1;
}

}  // namespace frcnn::tensor_file_format
