#include <cerrno>
#include <cstring>
#include <fstream>

#include "kernels/launch/check.h"
#include "weights/checkpoint.h"
#include "weights/checkpoint_format.h"
#include "weights/hdf5_handle.h"

namespace frcnn {
namespace {

/// A file being read; every complaint begins with its name.
struct Reader {
  std::string name;
  Hdf5Handle file;

  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail("{}: {}", name, fmt::format(format, std::forward<Args>(args)...));
  }
};

/// Any numeric or string attribute of HDF5, as one of ours.
using Value = std::variant<int64_t, double, std::string, std::vector<std::string>>;

std::string trimmed(const char* text, size_t length) {
  return {text, strnlen(text, length)};
}

/// Strings of fixed or variable length (h5py writes the latter).
std::vector<std::string> read_strings(const Reader& reader, hid_t attribute, hid_t type,
                                      size_t count, const std::string& what) {
  std::vector<std::string> values(count);
  if (count == 0) return values;
  if (H5Tis_variable_str(type) > 0) {
    std::vector<char*> data(count, nullptr);
    if (H5Aread(attribute, type, data.data()) < 0) reader.refuse("{} is damaged", what);
    for (size_t i = 0; i < count; ++i) {
      if (data[i]) values[i] = data[i];
      H5free_memory(data[i]);
    }
  } else {
    const size_t length = H5Tget_size(type);
    std::vector<char> data(length * count);
    if (H5Aread(attribute, type, data.data()) < 0) reader.refuse("{} is damaged", what);
    for (size_t i = 0; i < count; ++i) values[i] = trimmed(data.data() + i * length, length);
  }
  return values;
}

Value read_attribute(const Reader& reader, hid_t object, const std::string& name) {
  const std::string what = "attribute '" + name + "'";
  const Hdf5Handle attribute(H5Aopen(object, name.c_str(), H5P_DEFAULT), H5Aclose);
  if (!attribute) reader.refuse("{} is missing", what);
  const Hdf5Handle type(H5Aget_type(attribute.get()), H5Tclose);
  const Hdf5Handle space(H5Aget_space(attribute.get()), H5Sclose);
  const hssize_t count = H5Sget_simple_extent_npoints(space.get());
  const bool scalar = H5Sget_simple_extent_ndims(space.get()) == 0;
  const H5T_class_t kind = H5Tget_class(type.get());
  if (kind == H5T_STRING) {
    auto values =
        read_strings(reader, attribute.get(), type.get(), static_cast<size_t>(count), what);
    if (scalar && values.size() == 1) return values[0];
    return values;
  }
  // An empty list has no strings whose type could be seen.
  if (count == 0) return std::vector<std::string>{};
  if (count != 1) reader.refuse("{} has {} values, expected one", what, count);
  if (kind == H5T_INTEGER) {
    int64_t value = 0;
    if (H5Aread(attribute.get(), H5T_NATIVE_INT64, &value) < 0)
      reader.refuse("{} is damaged", what);
    return value;
  }
  if (kind != H5T_FLOAT) reader.refuse("{} is neither a number nor text", what);
  double value = 0;
  if (H5Aread(attribute.get(), H5T_NATIVE_DOUBLE, &value) < 0) reader.refuse("{} is damaged", what);
  return value;
}

template <typename T>
T read_attribute_as(const Reader& reader, const std::string& name, const char* expected) {
  Value value = read_attribute(reader, reader.file.get(), name);
  if (T* typed = std::get_if<T>(&value)) return std::move(*typed);
  reader.refuse("attribute '{}' is not {}", name, expected);
}

DType dtype_of_file(const Reader& reader, hid_t type, const std::string& what) {
  const H5T_class_t kind = H5Tget_class(type);
  const size_t size = H5Tget_size(type);
  if (kind == H5T_FLOAT && size == 4) return DType::f32;
  if (kind == H5T_FLOAT && size == 8) return DType::f64;
  if (kind == H5T_INTEGER && size == 1 && H5Tget_sign(type) == H5T_SGN_NONE) return DType::u8;
  if (kind == H5T_INTEGER && size == 4 && H5Tget_sign(type) == H5T_SGN_2) return DType::i32;
  if (kind == H5T_INTEGER && size == 8 && H5Tget_sign(type) == H5T_SGN_2) return DType::i64;
  reader.refuse("{} has a type of {} bytes that is none of f32, f64, i32, i64, u8", what, size);
}

Tensor read_tensor(const Reader& reader, hid_t group, const std::string& name,
                   const std::string& what) {
  const Hdf5Handle dataset(H5Dopen2(group, name.c_str(), H5P_DEFAULT), H5Dclose);
  if (!dataset) reader.refuse("{} is damaged or no dataset", what);
  const Hdf5Handle type(H5Dget_type(dataset.get()), H5Tclose);
  const Hdf5Handle space(H5Dget_space(dataset.get()), H5Sclose);
  const int rank = H5Sget_simple_extent_ndims(space.get());
  if (rank < 0) reader.refuse("{} is damaged", what);
  std::vector<hsize_t> dims(static_cast<size_t>(rank));
  H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr);
  if (!has_all_chunks(dataset.get()))
    reader.refuse("{} is damaged: a part of it is missing in the file", what);
  const DType dtype = dtype_of_file(reader, type.get(), what);
  const Shape shape(std::vector<int64_t>(dims.begin(), dims.end()));
  Tensor tensor = Tensor::empty(shape, dtype);
  // The checksum of every chunk is compared while reading.
  if (tensor.numel() > 0 && H5Dread(dataset.get(), checkpoint_format::memory_type(dtype), H5S_ALL,
                                    H5S_ALL, H5P_DEFAULT, tensor.raw()) < 0)
    reader.refuse("{} is damaged (its checksum is wrong or the file is cut short)", what);
  return tensor;
}

std::vector<std::string> member_names(const Reader& reader, hid_t group, const char* what) {
  std::vector<std::string> names;
  const auto visit = [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->push_back(name);
    return 0;
  };
  if (H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, nullptr, visit, &names) < 0)
    reader.refuse("group '{}' is damaged", what);
  return names;
}

TensorMap read_tensors(const Reader& reader, const char* name, bool required) {
  TensorMap tensors;
  if (H5Lexists(reader.file.get(), name, H5P_DEFAULT) <= 0) {
    if (required) reader.refuse("group '{}' is missing", name);
    return tensors;
  }
  const Hdf5Handle group(H5Gopen2(reader.file.get(), name, H5P_DEFAULT), H5Gclose);
  if (!group) reader.refuse("group '{}' is damaged", name);
  for (const std::string& key : member_names(reader, group.get(), name))
    tensors.emplace(key, read_tensor(reader, group.get(), key, fmt::format("{}/{}", name, key)));
  if (required && tensors.empty()) reader.refuse("group '{}' is empty", name);
  return tensors;
}

/// The definition of an imported backbone; "" when there is none.
std::string read_network(const Reader& reader) {
  const std::string name = checkpoint_format::kNetwork;
  if (H5Lexists(reader.file.get(), name.c_str(), H5P_DEFAULT) <= 0) return "";
  const Tensor text = read_tensor(reader, reader.file.get(), name, name);
  if (text.dtype() != DType::u8 || text.rank() != 1)
    reader.refuse("{} is not text (a list of unsigned 8-bit integers)", name);
  const auto bytes = text.span<uint8_t>();
  return {bytes.begin(), bytes.end()};
}

void read_training(const Reader& reader, Checkpoint& checkpoint) {
  if (H5Lexists(reader.file.get(), "training", H5P_DEFAULT) <= 0) return;
  const Hdf5Handle group(H5Gopen2(reader.file.get(), "training", H5P_DEFAULT), H5Gclose);
  if (!group) reader.refuse("group 'training' is damaged");
  std::vector<std::string> names;
  const auto visit = [](hid_t, const char* name, const H5A_info_t*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->push_back(name);
    return 0;
  };
  if (H5Aiterate2(group.get(), H5_INDEX_NAME, H5_ITER_INC, nullptr, visit, &names) < 0)
    reader.refuse("group 'training' is damaged");
  for (const std::string& name : names) {
    const Value value = read_attribute(reader, group.get(), name);
    if (const auto* integer = std::get_if<int64_t>(&value))
      checkpoint.training[name] = *integer;
    else if (const auto* number = std::get_if<double>(&value))
      checkpoint.training[name] = *number;
    else if (const auto* text = std::get_if<std::string>(&value))
      checkpoint.training[name] = *text;
    else
      reader.refuse("training attribute '{}' is a list, expected one value", name);
  }
}

/// Opens the file and says in a sentence why it cannot be.
Reader open_reader(const std::filesystem::path& file) {
  Reader reader{file.string(), {}};
  std::error_code error;
  if (std::filesystem::is_directory(file, error))
    reader.refuse("is a folder, expected a checkpoint");
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  if (!stream) reader.refuse("cannot read the checkpoint: {}", std::strerror(errno));
  char signature[8] = {};
  stream.read(signature, sizeof(signature));
  if (stream.gcount() == 0) reader.refuse("is empty, expected a checkpoint");
  if (stream.gcount() < 8 || std::memcmp(signature, "\x89HDF\r\n\x1a\n", 8) != 0)
    reader.refuse("is not an HDF5 file, so it cannot be a checkpoint");
  stream.close();
  reader.file = {H5Fopen(file.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose};
  if (!reader.file) reader.refuse("is cut short or damaged");
  return reader;
}

template <typename T>
const T& training_value(const Checkpoint& checkpoint, const std::string& key, const char* type) {
  const auto entry = checkpoint.training.find(key);
  check(entry != checkpoint.training.end(), "the checkpoint holds no training state '{}'", key);
  const T* value = std::get_if<T>(&entry->second);
  check(value != nullptr, "the checkpoint's training state '{}' is not {}", key, type);
  return *value;
}

}  // namespace

Checkpoint load_checkpoint(const std::filesystem::path& file) {
  silence_hdf5();
  const Reader reader = open_reader(file);
  if (H5Aexists(reader.file.get(), "format") <= 0)
    reader.refuse("is an HDF5 file but not a checkpoint of frcnn (attribute 'format' is missing)");
  const auto magic = read_attribute_as<std::string>(reader, "format", "text");
  if (magic != checkpoint_format::kMagic)
    reader.refuse("is not a checkpoint of frcnn: attribute 'format' is '{}', expected '{}'", magic,
                  checkpoint_format::kMagic);
  const auto version = read_attribute_as<int64_t>(reader, "format_version", "a whole number");
  if (version != kCheckpointVersion)
    reader.refuse("has checkpoint format version {}, this program reads version {}", version,
                  kCheckpointVersion);
  Checkpoint checkpoint;
  checkpoint.program_version = read_attribute_as<std::string>(reader, "program_version", "text");
  checkpoint.config = read_attribute_as<std::string>(reader, "config", "text");
  checkpoint.classes =
      read_attribute_as<std::vector<std::string>>(reader, "classes", "a list of names");
  checkpoint.network = read_network(reader);
  checkpoint.parameters = read_tensors(reader, "parameters", true);
  checkpoint.buffers = read_tensors(reader, "buffers", false);
  checkpoint.optimizer = read_tensors(reader, "optimizer", false);
  read_training(reader, checkpoint);
  return checkpoint;
}

int64_t Checkpoint::training_int(const std::string& key) const {
  return training_value<int64_t>(*this, key, "a whole number");
}
double Checkpoint::training_double(const std::string& key) const {
  return training_value<double>(*this, key, "a number");
}
const std::string& Checkpoint::training_string(const std::string& key) const {
  return training_value<std::string>(*this, key, "text");
}

}  // namespace frcnn
