#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "engine/memory.h"
#include "kernels/launch/check.h"
#include "weights/hdf5_handle.h"
#include "weights/tensor_file.h"
#include "weights/tensor_file_format.h"

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

Attribute read_attribute(const Reader& reader, hid_t object, const std::string& name) {
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

DType dtype_of_file(const Reader& reader, hid_t type, const std::string& what) {
  const H5T_class_t kind = H5Tget_class(type);
  const size_t size = H5Tget_size(type);
  if (kind == H5T_FLOAT && size == 4) return DType::f32;
  if (kind == H5T_FLOAT && size == 8) return DType::f64;
  if (kind == H5T_INTEGER && size == 1 && H5Tget_sign(type) == H5T_SGN_NONE) return DType::u8;
  if (kind == H5T_INTEGER && size == 1 && H5Tget_sign(type) == H5T_SGN_2) return DType::i8;
  if (kind == H5T_INTEGER && size == 4 && H5Tget_sign(type) == H5T_SGN_2) return DType::i32;
  if (kind == H5T_INTEGER && size == 8 && H5Tget_sign(type) == H5T_SGN_2) return DType::i64;
  reader.refuse("{} has a type of {} bytes that is none of f32, f64, i32, i64, u8, i8", what, size);
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
  const MemoryPurposeScope purpose(MemoryPurpose::weights);
  Tensor tensor = Tensor::empty(shape, dtype);
  // The checksum of every chunk is compared while reading.
  if (tensor.numel() > 0 && H5Dread(dataset.get(), tensor_file_format::memory_type(dtype), H5S_ALL,
                                    H5S_ALL, H5P_DEFAULT, tensor.raw()) < 0)
    reader.refuse("{} is damaged (its checksum is wrong or the file is cut short)", what);
  return tensor;
}

extern "C" herr_t note_link(hid_t, const char* name, const H5L_info_t*, void* out) {
  static_cast<std::vector<std::string>*>(out)->push_back(name);
  return 0;
}
extern "C" herr_t note_attribute(hid_t, const char* name, const H5A_info_t*, void* out) {
  static_cast<std::vector<std::string>*>(out)->push_back(name);
  return 0;
}

/// Attributes and datasets of a group; `path` is "" for the root, whose groups go to `groups`.
TensorGroup read_group(const Reader& reader, hid_t group, const std::string& path,
                       std::vector<std::string>* groups) {
  const auto damaged = [&] {
    reader.refuse("{} is damaged", path.empty() ? "it" : "group '" + path + "'");
  };
  TensorGroup content;
  std::vector<std::string> names;
  if (H5Aiterate2(group, H5_INDEX_NAME, H5_ITER_INC, nullptr, note_attribute, &names) < 0)
    damaged();
  for (const std::string& name : names)
    content.attributes.emplace(name, read_attribute(reader, group, name));
  names.clear();
  if (H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, nullptr, note_link, &names) < 0) damaged();
  for (const std::string& name : names) {
    const std::string what = path.empty() ? name : fmt::format("{}/{}", path, name);
    const Hdf5Handle object(H5Oopen(group, name.c_str(), H5P_DEFAULT), H5Oclose);
    if (groups && object && H5Iget_type(object.get()) == H5I_GROUP)
      groups->push_back(name);
    else
      content.tensors.emplace(name, read_tensor(reader, group, name, what));
  }
  return content;
}

/// Opens the file and says in a sentence why it cannot be.
Reader open_reader(const std::filesystem::path& file, const std::string& noun) {
  Reader reader{file.string(), {}};
  std::error_code error;
  if (std::filesystem::is_directory(file, error)) reader.refuse("is a folder, expected a {}", noun);
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  if (!stream) reader.refuse("cannot read the {}: {}", noun, std::strerror(errno));
  char signature[8] = {};
  stream.read(signature, sizeof(signature));
  if (stream.gcount() == 0) reader.refuse("is empty, expected a {}", noun);
  if (stream.gcount() < 8 || std::memcmp(signature, "\x89HDF\r\n\x1a\n", 8) != 0)
    reader.refuse("is not an HDF5 file, so it cannot be a {}", noun);
  stream.close();
  reader.file = {H5Fopen(file.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose};
  if (!reader.file) reader.refuse("is cut short or damaged");
  return reader;
}

void check_kind(const Reader& reader, const TensorFileKind& kind) {
  const hid_t file = reader.file.get();
  if (H5Aexists(file, "format") <= 0)
    reader.refuse("is an HDF5 file but not a {} of frcnn (attribute 'format' is missing)",
                  kind.noun);
  const Attribute format = read_attribute(reader, file, "format");
  const auto* name = std::get_if<std::string>(&format);
  if (!name) reader.refuse("attribute 'format' is not text");
  if (*name != kind.format)
    reader.refuse("is not a {} of frcnn: attribute 'format' is '{}', expected '{}'", kind.noun,
                  *name, kind.format);
  const Attribute version = read_attribute(reader, file, "format_version");
  const auto* number = std::get_if<int64_t>(&version);
  if (!number) reader.refuse("attribute 'format_version' is not a whole number");
  const int64_t newest = std::max(kind.version, kind.newest);
  if (*number < kind.version || *number > newest)
    reader.refuse("has {} format version {}, this program reads version {}", kind.noun, *number,
                  newest == kind.version ? fmt::format("{}", newest)
                                         : fmt::format("{} to {}", kind.version, newest));
}

}  // namespace

TensorFile load_tensor_file(const std::filesystem::path& file, const TensorFileKind& kind,
                            const std::vector<std::string>& leave_out) {
  silence_hdf5();
  const Reader reader = open_reader(file, kind.noun);
  check_kind(reader, kind);
  TensorFile content;
  std::vector<std::string> groups;
  content.root = read_group(reader, reader.file.get(), "", &groups);
  content.root.attributes.erase("format");
  content.root.attributes.erase("format_version");
  for (const std::string& name : groups) {
    if (std::ranges::find(leave_out, name) != leave_out.end()) continue;
    const Hdf5Handle group(H5Gopen2(reader.file.get(), name.c_str(), H5P_DEFAULT), H5Gclose);
    if (!group) reader.refuse("group '{}' is damaged", name);
    content.groups.emplace(name, read_group(reader, group.get(), name, nullptr));
  }
  return content;
}

}  // namespace frcnn
