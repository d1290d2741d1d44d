#include <algorithm>
#include <array>
#include <fstream>
#include <string_view>

#include "kernels/launch/check.h"
#include "weights/formats.h"
#include "weights/weight_file.h"
#include "weights/zip_archive.h"

namespace frcnn {
namespace {

namespace fs = std::filesystem;
using std::string_view_literals::operator""sv;

/// The first bytes of a file, as many as recognising it takes.
std::string head_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  check(in.is_open(), "{}: cannot be opened", file.string());
  std::string head(64, '\0');
  in.read(head.data(), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<size_t>(in.gcount()));
  return head;
}

/// A safetensors file begins with the length of its JSON header.
bool is_safetensors(const std::string& head, uint64_t file_size) {
  if (head.size() < 10 || head[8] != '{') return false;
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | static_cast<uint8_t>(head[size_t(i)]);
  return length <= file_size - 8;
}

std::unique_ptr<WeightFile> open_zip(const fs::path& file) {
  const ZipArchive archive(file);
  const auto any = [&](auto&& predicate) {
    return std::any_of(archive.entries().begin(), archive.entries().end(),
                       [&](const ZipArchive::Entry& entry) { return predicate(entry.name); });
  };
  if (any([](const std::string& name) {
        return name == "data.pkl" || name.ends_with("/data.pkl");
      }))
    return open_torch_zip(file);
  if (any([](const std::string& name) { return name == "model.weights.h5"; }))
    return open_keras_zip(file);
  if (any([](const std::string& name) { return name.ends_with(".npy"); })) return open_numpy(file);
  fail(
      "{}: a zip archive, but without the data.pkl of PyTorch, the model.weights.h5 of Keras 3 or "
      "the .npy of NumPy",
      file.string());
}

}  // namespace

std::unique_ptr<WeightFile> WeightFile::open(const fs::path& file) {
  check(fs::exists(file), "{}: there is no such file", file.string());
  check(fs::is_regular_file(file), "{}: not a file", file.string());
  const std::string head = head_of(file);
  check(!head.empty(), "{}: the file is empty", file.string());

  if (head.starts_with("\x89HDF\r\n\x1a\n"sv))
    return is_frcnn_checkpoint(file) ? open_frcnn_checkpoint(file) : open_keras_hdf5(file);
  if (head.starts_with("PK\x03\x04"sv) || head.starts_with("PK\x05\x06"sv)) return open_zip(file);
  if (head.starts_with("\x93NUMPY"sv)) return open_numpy(file);
  // The magic number that torch.save() pickles first, 0x1950a86a20f9469cfc6c.
  if (head.starts_with("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"sv))
    return open_torch_legacy(file);
  if (is_safetensors(head, fs::file_size(file))) return open_safetensors(file);
  // Protocol buffers have no magic number. ModelProto of ONNX begins with its ir_version (field 1,
  // a number), NetParameter of Caffe with its name (field 1, text) or a layer (field 2 or 100).
  if (head.size() > 2 && head[0] == '\x08') return open_onnx_weights(file);
  if (head[0] == '\x0a' || head[0] == '\x12' || head.starts_with("\xa2\x06"sv))
    return open_caffe(file);
  fail(
      "{}: not a file of weights that this program knows. Known are: frcnn checkpoints, Keras "
      "(.h5, .weights.h5, .keras), PyTorch (.pth, .pt), safetensors, NumPy (.npz, .npy), Caffe "
      "(.caffemodel) and ONNX (.onnx)",
      file.string());
}

}  // namespace frcnn
