#pragma once

#include <filesystem>
#include <memory>

#include "weights/weight_file.h"

// The readers behind WeightFile::open(). Each family has a folder of its own with a test and a
// fuzz target of the same name (tests/weights, tests/fuzz).
namespace frcnn {

/// HDF5 as Keras 1, Keras 2 and Keras 3 (.weights.h5) write it.
std::unique_ptr<WeightFile> open_keras_hdf5(const std::filesystem::path& file);
/// Keras 3's .keras archive: a zip file with model.weights.h5 inside.
std::unique_ptr<WeightFile> open_keras_zip(const std::filesystem::path& file);
/// Whether an HDF5 file carries the mark of this program's checkpoints.
bool is_frcnn_checkpoint(const std::filesystem::path& file);
/// Checkpoints of this program (weights/FORMAT.md).
std::unique_ptr<WeightFile> open_frcnn_checkpoint(const std::filesystem::path& file);
/// torch.save() since PyTorch 1.6: a zip file with data.pkl inside.
std::unique_ptr<WeightFile> open_torch_zip(const std::filesystem::path& file);
/// torch.save() before PyTorch 1.6: a sequence of pickles and raw storages.
std::unique_ptr<WeightFile> open_torch_legacy(const std::filesystem::path& file);
std::unique_ptr<WeightFile> open_safetensors(const std::filesystem::path& file);
/// NumPy .npz (a zip file of .npy) and a single .npy, whose array is named by the file.
std::unique_ptr<WeightFile> open_numpy(const std::filesystem::path& file);
/// Caffe's binary NetParameter (.caffemodel).
std::unique_ptr<WeightFile> open_caffe(const std::filesystem::path& file);
/// The initialisers of an ONNX graph; the graph itself is read by weights/onnx.
std::unique_ptr<WeightFile> open_onnx_weights(const std::filesystem::path& file);

}  // namespace frcnn
