#include <algorithm>
#include <nlohmann/json.hpp>

#include "kernels/launch/check.h"
#include "weights/new_file.h"
#include "weights/safetensors.h"

namespace frcnn {
namespace {

using Json = nlohmann::ordered_json;
using Named = std::pair<std::string, Tensor>;

const char* type_name(DType type) {
  switch (type) {
    case DType::f64:
      return "F64";
    case DType::f32:
      return "F32";
    case DType::i64:
      return "I64";
    case DType::i32:
      return "I32";
    case DType::u8:
      return "U8";
    case DType::i8:
      return "I8";
    case DType::bf16:
      break;
  }
  return "";
}

uint64_t bytes_of(const Tensor& tensor) {
  return static_cast<uint64_t>(tensor.numel()) * size_of(tensor.dtype());
}

/// Length and JSON text. Padded with spaces to a multiple of 8, so that the numbers are aligned.
std::string header(const std::filesystem::path& file, const std::vector<Named>& tensors,
                   const std::map<std::string, std::string>& metadata) {
  Json json = Json::object();
  if (!metadata.empty()) json["__metadata__"] = metadata;
  uint64_t at = 0;
  for (const auto& [name, tensor] : tensors) {
    check(name != "__metadata__" && !json.contains(name),
          "{}: cannot be written: array \"{}\" is there twice, or has a reserved name",
          file.string(), name);
    const auto dims = tensor.shape().dims();
    json[name] = {{"dtype", type_name(tensor.dtype())},
                  {"shape", std::vector<int64_t>(dims.begin(), dims.end())},
                  {"data_offsets", {at, at + bytes_of(tensor)}}};
    at += bytes_of(tensor);
  }
  std::string text;
  try {
    text = json.dump();
  } catch (const nlohmann::json::exception&) {
    fail("{}: cannot be written: a name or metadata is not UTF-8", file.string());
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string out(8, '\0');
  for (int i = 0; i < 8; ++i)
    out[static_cast<size_t>(i)] = static_cast<char>(text.size() >> (8 * i) & 0xFF);
  return out + text;
}

template <typename T>
void write_values(NewFile& out, const Tensor& tensor) {
  if (!tensor.device().is_gpu() && tensor.channel_block() == 1) {
    out.write(tensor.raw(), bytes_of(tensor));
    return;
  }
  const std::vector<T> values = tensor.to_vector<T>();
  out.write(values.data(), values.size() * sizeof(T));
}

}  // namespace

void save_safetensors(const std::filesystem::path& file, const std::vector<Named>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  std::vector<Named> sorted = tensors;
  std::sort(sorted.begin(), sorted.end(), [](const Named& a, const Named& b) {
    const size_t size_a = size_of(a.second.dtype()), size_b = size_of(b.second.dtype());
    return size_a != size_b ? size_a > size_b : a.first < b.first;
  });
  const std::string head = header(file, sorted, metadata);
  NewFile out(file);
  out.write(head.data(), head.size());
  for (const auto& [name, tensor] : sorted) {
    switch (tensor.dtype()) {
      case DType::f64:
        write_values<double>(out, tensor);
        break;
      case DType::f32:
        write_values<float>(out, tensor);
        break;
      case DType::i64:
        write_values<int64_t>(out, tensor);
        break;
      case DType::i32:
        write_values<int32_t>(out, tensor);
        break;
      case DType::u8:
        write_values<uint8_t>(out, tensor);
        break;
      case DType::i8:
        write_values<int8_t>(out, tensor);
        break;
      case DType::bf16:
        fail("[safetensors] bf16 arrays of this program are not written");
    }
  }
  out.commit();
}

void save_safetensors(const std::filesystem::path& file, const TensorMap& tensors,
                      const std::map<std::string, std::string>& metadata) {
  save_safetensors(file, std::vector<Named>(tensors.begin(), tensors.end()), metadata);
}

}  // namespace frcnn
