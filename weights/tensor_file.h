#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "engine/tensor.h"

namespace frcnn {

/// Tensors by name. Ordered, so that the same content gives the same file.
using TensorMap = std::map<std::string, Tensor>;

/// A small value beside the tensors.
using Attribute = std::variant<int64_t, double, std::string, std::vector<std::string>>;

/// One group of a file: attributes and tensors by name. Names must not contain '/'. Tensors come
/// back on the CPU in plain row-major order; what is saved may have any memory format and device.
struct TensorGroup {
  std::map<std::string, Attribute> attributes;
  TensorMap tensors;
};

/// Which of this program's files it is: attributes "format" and "format_version" of the root.
struct TensorFileKind {
  std::string format;   ///< "frcnn checkpoint"
  std::string noun;     ///< "checkpoint", for messages
  int64_t version = 1;  ///< written, and the oldest one that is read
  int64_t newest = 0;   ///< newest one that is read; 0: `version` alone
};

/// What the HDF5 files of this program have in common: a root and groups, one level deep, every
/// tensor with a checksum (weights/FORMAT.md). Checkpoints, proposals and the like stand on it.
struct TensorFile {
  TensorGroup root;
  std::map<std::string, TensorGroup> groups;
};

/// Writes `file` as a whole or not at all: to "<file>.tmp" beside it, synced to the disk, then
/// renamed. The same content gives the same bytes. Throws Error (folder missing or not writable,
/// disk full, ...) and removes the temporary file.
void save_tensor_file(const std::filesystem::path& file, const TensorFileKind& kind,
                      const TensorFile& content);

/// Reads a whole file. Throws Error with one sentence for a file that is missing, not HDF5, of
/// another kind or version, cut short or damaged. Groups of the names in `leave_out` are not read.
TensorFile load_tensor_file(const std::filesystem::path& file, const TensorFileKind& kind,
                            const std::vector<std::string>& leave_out = {});

}  // namespace frcnn
