#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "kernels/launch/check.h"
#include "weights/hdf5_handle.h"
#include "weights/tensor_file.h"
#include "weights/tensor_file_format.h"

namespace frcnn {
namespace {

using tensor_file_format::file_type;

/// Names the failed part and the system's reason; save_tensor_file() adds the file.
void succeed(hid_t status, const std::string& what) {
  const int reason = errno;
  check(status >= 0, "{}{}{}", what, reason ? ": " : "", reason ? std::strerror(reason) : "");
}

/// An object that HDF5 has just made.
Hdf5Handle open_or_fail(hid_t id, Hdf5Handle::Close close, const std::string& what) {
  succeed(id, what);
  return {id, close};
}

/// Properties of every object: no times, so that the same content gives the same bytes.
Hdf5Handle untimed(hid_t cls) {
  Hdf5Handle list(H5Pcreate(cls), H5Pclose);
  H5Pset_obj_track_times(list.get(), 0);
  return list;
}

Hdf5Handle string_type(size_t length) {
  Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), std::max<size_t>(length, 1));
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  H5Tset_strpad(type.get(), H5T_STR_NULLPAD);
  return type;
}

void write_attribute(hid_t object, const std::string& name, hid_t type, hid_t memory_type,
                     hid_t space, const void* data) {
  const Hdf5Handle attribute = open_or_fail(
      H5Acreate2(object, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose, name);
  succeed(H5Awrite(attribute.get(), memory_type, data), name);
}

void write_attribute(hid_t object, const std::string& name, const std::string& value) {
  const Hdf5Handle type = string_type(value.size()), space(H5Screate(H5S_SCALAR), H5Sclose);
  const std::string data = value.empty() ? std::string(1, '\0') : value;
  write_attribute(object, name, type.get(), type.get(), space.get(), data.data());
}

void write_attribute(hid_t object, const std::string& name, int64_t value) {
  const Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  write_attribute(object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, space.get(), &value);
}

void write_attribute(hid_t object, const std::string& name, double value) {
  const Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  write_attribute(object, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, space.get(), &value);
}

/// One dimension of fixed-length strings, padded with zeros.
void write_attribute(hid_t object, const std::string& name,
                     const std::vector<std::string>& values) {
  size_t length = 1;
  for (const std::string& value : values) length = std::max(length, value.size());
  std::vector<char> data(length * std::max<size_t>(values.size(), 1), '\0');
  for (size_t i = 0; i < values.size(); ++i)
    std::copy(values[i].begin(), values[i].end(), data.begin() + static_cast<long>(i * length));
  const hsize_t count = values.size();
  const Hdf5Handle type = string_type(length),
                   space(H5Screate_simple(1, &count, nullptr), H5Sclose);
  write_attribute(object, name, type.get(), type.get(), space.get(), data.data());
}

/// Chunks of at most 1 MiB along the slowest dimensions: the checksum filter works on chunks.
std::vector<hsize_t> chunk_of(const std::vector<hsize_t>& dims, size_t element) {
  std::vector<hsize_t> chunk = dims;
  hsize_t rest = element;
  for (const hsize_t d : dims) rest *= d;
  for (size_t i = 0; i < dims.size() && rest > tensor_file_format::kChunkBytes; ++i) {
    rest /= dims[i];  // bytes of one row
    chunk[i] = std::max<hsize_t>(1, tensor_file_format::kChunkBytes / rest);
    rest *= chunk[i];
  }
  return chunk;
}

void write_tensor(hid_t group, const std::string& name, const Tensor& tensor) {
  check(tensor.defined(), "tensor '{}' is empty", name);
  check(!name.empty() && name.find('/') == std::string::npos && name != ".",
        "'{}' cannot name a tensor", name);
  // Host memory in row-major order; a copy only where the tensor lies otherwise.
  Tensor plain = tensor;
  if (tensor.device() != Device{} || tensor.channel_block() != 1) {
    plain = Tensor::empty(tensor.shape(), tensor.dtype());
    plain.copy_from(tensor);
  }
  const std::vector<hsize_t> dims(plain.shape().dims().begin(), plain.shape().dims().end());
  const Hdf5Handle space(
      dims.empty() ? H5Screate(H5S_SCALAR) : H5Screate_simple(plain.rank(), dims.data(), nullptr),
      H5Sclose);
  const Hdf5Handle properties = untimed(H5P_DATASET_CREATE);
  if (!dims.empty() && plain.numel() > 0) {
    const auto chunk = chunk_of(dims, size_of(plain.dtype()));
    H5Pset_chunk(properties.get(), plain.rank(), chunk.data());
    H5Pset_fletcher32(properties.get());
  }
  const Hdf5Handle dataset =
      open_or_fail(H5Dcreate2(group, name.c_str(), file_type(plain.dtype()), space.get(),
                              H5P_DEFAULT, properties.get(), H5P_DEFAULT),
                   H5Dclose, name);
  if (plain.numel() > 0)
    succeed(H5Dwrite(dataset.get(), tensor_file_format::memory_type(plain.dtype()), H5S_ALL,
                     H5S_ALL, H5P_DEFAULT, std::as_const(plain).raw()),
            name);
}

void write_group(hid_t group, const TensorGroup& content) {
  for (const auto& [name, value] : content.attributes)
    std::visit([&, &key = name](const auto& v) { write_attribute(group, key, v); }, value);
  for (const auto& [name, tensor] : content.tensors) write_tensor(group, name, tensor);
}

void write_content(hid_t file, const TensorFileKind& kind, const TensorFile& content) {
  write_attribute(file, "format", kind.format);
  write_attribute(file, "format_version", kind.version);
  write_group(file, content.root);
  const Hdf5Handle properties = untimed(H5P_GROUP_CREATE);
  for (const auto& [name, group] : content.groups) {
    const Hdf5Handle made = open_or_fail(
        H5Gcreate2(file, name.c_str(), H5P_DEFAULT, properties.get(), H5P_DEFAULT), H5Gclose, name);
    write_group(made.get(), group);
  }
}

/// Bytes that a group takes, a little more.
size_t expected_size(const TensorGroup& group) {
  size_t bytes = 4096;
  for (const auto& [name, value] : group.attributes) {
    bytes += 1024;
    if (const auto* text = std::get_if<std::string>(&value)) bytes += 2 * text->size();
    if (const auto* list = std::get_if<std::vector<std::string>>(&value)) {
      size_t longest = 1;
      for (const std::string& entry : *list) longest = std::max(longest, entry.size());
      bytes += list->size() * longest;
    }
  }
  for (const auto& [name, tensor] : group.tensors)
    if (tensor.defined())
      bytes += 2048 + static_cast<size_t>(tensor.numel()) * size_of(tensor.dtype()) * 33 / 32;
  return bytes;
}

size_t expected_size(const TensorFile& content) {
  size_t bytes = 65536 + expected_size(content.root);
  for (const auto& [name, group] : content.groups) bytes += expected_size(group);
  return bytes;
}

/// Refuses early what would fail late: HDF5 buffers writes and recovers badly from a full disk.
void check_space(const std::filesystem::path& folder, size_t bytes) {
  struct statvfs info {};
  if (statvfs(folder.c_str(), &info) != 0) return;
  const size_t available = static_cast<size_t>(info.f_bavail) * info.f_frsize;
  check(available >= bytes, "the disk is full: {:.1f} MB needed, {:.1f} MB free",
        static_cast<double>(bytes) / 1e6, static_cast<double>(available) / 1e6);
}

/// Makes what was written survive a power failure.
void sync(const std::filesystem::path& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC);
  check(fd >= 0, "{}", std::strerror(errno));
  const int status = fsync(fd);
  const int reason = errno;
  close(fd);
  // Some file systems cannot sync a folder; the file itself always must.
  check(status == 0 || (flags & O_DIRECTORY), "{}", std::strerror(reason));
}

void write_file_content(const std::filesystem::path& file, const TensorFileKind& kind,
                        const TensorFile& content) {
  const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  // Superblock 2 and object headers 2: checksums over the structure as well.
  H5Pset_libver_bounds(access.get(), H5F_LIBVER_V18, H5F_LIBVER_V18);
  H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG);
  const Hdf5Handle creation = untimed(H5P_FILE_CREATE);
  errno = 0;
  Hdf5Handle handle = open_or_fail(
      H5Fcreate(file.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), H5Fclose, "open");
  write_content(handle.get(), kind, content);
  succeed(H5Fflush(handle.get(), H5F_SCOPE_GLOBAL), "flush");
  const bool closed = handle.reset();
  check(closed, "close: {}", std::strerror(errno));
  sync(file, O_RDONLY);
}

}  // namespace

void save_tensor_file(const std::filesystem::path& file, const TensorFileKind& kind,
                      const TensorFile& content) {
  silence_hdf5();
  const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : ".";
  std::filesystem::path temporary = file;
  temporary += ".tmp";
  try {
    check(std::filesystem::is_directory(folder), "there is no folder {}", folder.string());
    check(access(folder.c_str(), W_OK) == 0, "folder {}: {}", folder.string(),
          std::strerror(errno));
    check_space(folder, expected_size(content));
    write_file_content(temporary, kind, content);
    check(std::rename(temporary.c_str(), file.c_str()) == 0, "{}", std::strerror(errno));
    sync(folder, O_RDONLY | O_DIRECTORY);
  } catch (const Error& error) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    fail("{}: cannot write the {}: {}", file.string(), kind.noun, error.what());
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    throw;
  }
}

}  // namespace frcnn
