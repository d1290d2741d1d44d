#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "weights/tensor_file.h"

namespace frcnn {

/// The versions of the file format that this program reads (weights/FORMAT.md). It writes the
/// second for 8-bit weights alone, which older programs would take for others.
inline constexpr int64_t kCheckpointVersion = 1, kInt8CheckpointVersion = 2;

/// What a checkpoint holds. Names must not contain '/'. Tensors come back on the CPU in plain
/// row-major order; what is saved may have any memory format and device.
struct Checkpoint {
  std::string program_version;       ///< version of frcnn that wrote it
  std::string config;                ///< resolved config as TOML (with the preprocessing)
  std::vector<std::string> classes;  ///< names, background not included
  std::string network;               ///< an imported backbone as JSON; empty: a built-in one
  TensorMap parameters;              ///< trained by gradients (also those of frozen layers)
  TensorMap buffers;                 ///< running statistics of batch norm
  TensorMap optimizer;               ///< momenta and the like; empty in files made for inference
  /// Moving averages of parameters, by their names; empty unless the run kept them (train.ema).
  TensorMap averages;
  /// State of the run: step, epoch cursor, seed, ... Empty in files made for inference.
  std::map<std::string, std::variant<int64_t, double, std::string>> training;
  /// 8-bit models (model/quantize.h): scales of the i8 tensors among `parameters`, and how they
  /// were found. Empty in all others.
  TensorGroup int8 = {};

  /// kCheckpointVersion or kInt8CheckpointVersion.
  int64_t format_version() const {
    return int8.tensors.empty() ? kCheckpointVersion : kInt8CheckpointVersion;
  }
  /// One entry of `training`; throws Error that names `key` when it is absent or of another type.
  int64_t training_int(const std::string& key) const;
  double training_double(const std::string& key) const;
  const std::string& training_string(const std::string& key) const;
};

/// The content of a checkpoint's file, and back, for files that hold a state of training and more
/// (model/nan_capsule.h). `name` begins the messages of the Errors about what is missing.
TensorFile to_tensor_file(const Checkpoint& checkpoint);
Checkpoint to_checkpoint(TensorFile content, const std::string& name);

/// MD5 of all that training has made: names, shapes and bytes of parameters, buffers and optimiser
/// state, and the step. Equal for runs that computed the same bits, whatever settings that don't
/// touch the result (threads of the loader, how often checkpoints are written) they had.
std::string state_md5(const Checkpoint& checkpoint);

/// Writes `file` as a whole or not at all: to "<file>.tmp" beside it, synced to the disk, then
/// renamed. The same content gives the same bytes. Throws Error (folder missing or not writable,
/// disk full, ...) and removes the temporary file.
void save_checkpoint(const std::filesystem::path& file, const Checkpoint& checkpoint);

/// Reads a checkpoint. Throws Error with one sentence for a file that is missing, not HDF5, not a
/// checkpoint, of another version, cut short or damaged (every tensor carries a checksum).
Checkpoint load_checkpoint(const std::filesystem::path& file);
/// The same without the optimiser's state, which inference needs no memory for.
Checkpoint load_checkpoint_weights(const std::filesystem::path& file);

}  // namespace frcnn
