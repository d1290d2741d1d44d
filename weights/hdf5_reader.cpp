#include "weights/hdf5_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <set>

#include "kernels/launch/check.h"
#include "weights/apart.h"
#include "weights/hdf5_handle.h"

namespace frcnn {
namespace {

constexpr int kDeepest = 32;                        // groups within groups
constexpr uint64_t kMostText = uint64_t{64} << 20;  // bytes of one attribute
constexpr hsize_t kChunkCache = hsize_t{64} << 20;  // bytes of unpacked chunks that are kept
constexpr uint64_t kMostPacking = 1100;             // deflate makes at most 1032 bytes of one

/// "conv_2" before "conv_10".
bool natural_less(const std::string& a, const std::string& b) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (digit(a[i]) && digit(b[j])) {
      size_t i_end = i, j_end = j;
      while (i_end < a.size() && digit(a[i_end])) ++i_end;
      while (j_end < b.size() && digit(b[j_end])) ++j_end;
      if (i_end - i != j_end - j) return i_end - i < j_end - j;
      const int order = a.compare(i, i_end - i, b, j, j_end - j);
      if (order != 0) return order < 0;
      i = i_end;
      j = j_end;
    } else if (a[i] != b[j]) {
      return a[i] < b[j];
    } else {
      ++i;
      ++j;
    }
  }
  return a.size() - i < b.size() - j;
}

std::string joined(const std::string& group, const std::string& member) {
  return group.empty() ? member : group + "/" + member;
}

// The image of a file in memory is lent to HDF5 instead of copied.
void* lend(size_t, H5FD_file_image_op_t, void* image) {
  return image;
}
void* lend_again(void* to, const void*, size_t, H5FD_file_image_op_t, void*) {
  return to;
}
herr_t keep(void*, H5FD_file_image_op_t, void*) {
  return 0;
}
void* same(void* image) {
  return image;
}

}  // namespace

struct Hdf5Reader::Impl {
  std::string name;
  std::string image;  // empty: the file is read from the disk
  uint64_t size = 0;
  int descriptor = -1;
  Hdf5Handle file;
  // The dataset read last: large ones are read in many parts.
  std::string last_path;
  Hdf5Handle last;
  bool last_plain = false;
  haddr_t last_offset = HADDR_UNDEF;

  ~Impl() {
    if (descriptor >= 0) ::close(descriptor);
  }

  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail("{}: {}", name, fmt::format(format, std::forward<Args>(args)...));
  }

  void open() {
    silence_hdf5();
    const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    if (!image.empty()) {
      H5Pset_fapl_core(access.get(), size_t{1} << 20, 0);
      // Opened for reading only: HDF5 does not write into the image.
      H5FD_file_image_callbacks_t callbacks{lend, lend_again, nullptr,     keep,
                                            same, keep_data,  image.data()};
      H5Pset_file_image_callbacks(access.get(), &callbacks);
      H5Pset_file_image(access.get(), image.data(), image.size());
    }
    file = {H5Fopen(image.empty() ? name.c_str() : "image", H5F_ACC_RDONLY, access.get()),
            H5Fclose};
    if (!file) refuse("is cut short or damaged: the HDF5 library cannot open it");
  }
  static herr_t keep_data(void*) { return 0; }

  /// True when `path` exists; every link on the way must be hard.
  bool find(const std::string& path) const {
    size_t end = 0;
    int depth = 0;
    while (end != std::string::npos) {
      end = path.find('/', end + 1);
      const std::string part = path.substr(0, end);
      if (++depth > kDeepest) refuse("\"{}\" lies deeper than {} groups", path, kDeepest);
      if (H5Lexists(file.get(), part.c_str(), H5P_DEFAULT) <= 0) return false;
      H5L_info_t info;
      if (H5Lget_info(file.get(), part.c_str(), &info, H5P_DEFAULT) < 0)
        refuse("the link \"{}\" is damaged", part);
      if (info.type != H5L_TYPE_HARD)
        refuse("\"{}\" is {} link, which no file of weights has; it is not followed", part,
               info.type == H5L_TYPE_SOFT ? "a soft" : "an external or unknown");
    }
    return true;
  }

  Hdf5Handle object(const std::string& path) const {
    if (path.empty()) return {H5Oopen(file.get(), "/", H5P_DEFAULT), H5Oclose};
    if (!find(path)) refuse("\"{}\" is missing", path);
    Hdf5Handle handle(H5Oopen(file.get(), path.c_str(), H5P_DEFAULT), H5Oclose);
    if (!handle) refuse("\"{}\" is damaged", path);
    return handle;
  }

  Hdf5Handle dataset(const std::string& path) const {
    Hdf5Handle handle = object(path);
    if (H5Iget_type(handle.get()) != H5I_DATASET)
      refuse("\"{}\" is not an array; expected a dataset of numbers", path);
    return handle;
  }

  StoredType stored_type(hid_t dataset, const std::string& path) const {
    const Hdf5Handle type(H5Dget_type(dataset), H5Tclose);
    if (!type) refuse("\"{}\" has a damaged data type", path);
    const H5T_class_t kind = H5Tget_class(type.get());
    const size_t bytes = H5Tget_size(type.get());
    if (kind == H5T_FLOAT) {
      size_t sign = 0, exponent = 0, exponent_bits = 0, mantissa = 0, mantissa_bits = 0;
      H5Tget_fields(type.get(), &sign, &exponent, &exponent_bits, &mantissa, &mantissa_bits);
      const bool whole = H5Tget_precision(type.get()) == 8 * bytes && mantissa == 0 &&
                         H5Tget_offset(type.get()) == 0 && sign == 8 * bytes - 1 &&
                         exponent == mantissa_bits && H5Tget_order(type.get()) <= H5T_ORDER_BE &&
                         H5Tget_norm(type.get()) == H5T_NORM_IMPLIED;
      if (whole && bytes == 8 && exponent_bits == 11 && mantissa_bits == 52) return StoredType::f64;
      if (whole && bytes == 4 && exponent_bits == 8 && mantissa_bits == 23) return StoredType::f32;
      if (whole && bytes == 2 && exponent_bits == 5 && mantissa_bits == 10) return StoredType::f16;
      if (whole && bytes == 2 && exponent_bits == 8 && mantissa_bits == 7) return StoredType::bf16;
    } else if (kind == H5T_INTEGER && H5Tget_precision(type.get()) == 8 * bytes) {
      const bool is_signed = H5Tget_sign(type.get()) == H5T_SGN_2;
      if (is_signed && bytes == 8) return StoredType::i64;
      if (is_signed && bytes == 4) return StoredType::i32;
      if (is_signed && bytes == 2) return StoredType::i16;
      if (bytes == 1) return is_signed ? StoredType::i8 : StoredType::u8;
    }
    refuse(
        "\"{}\" has elements of {} bytes that are no numbers this program reads; expected floats "
        "of 16, 32 or 64 bits, signed integers or bytes",
        path, bytes);
  }

  /// The creation properties hold what could reach out of the file or run code of a plug-in.
  H5D_layout_t check_storage(hid_t dataset, const std::string& path, uint64_t elements,
                             uint64_t bytes, const std::vector<hsize_t>& dims) const {
    const Hdf5Handle made(H5Dget_create_plist(dataset), H5Pclose);
    if (!made) refuse("\"{}\" has damaged properties", path);
    if (H5Pget_external_count(made.get()) != 0)
      refuse("the numbers of \"{}\" lie in another file, which is not read", path);
    const H5D_layout_t layout = H5Pget_layout(made.get());
    if (layout != H5D_CONTIGUOUS && layout != H5D_CHUNKED && layout != H5D_COMPACT)
      refuse("\"{}\" is a virtual array over other files, which are not read", path);
    const int filters = H5Pget_nfilters(made.get());
    bool packed = false;
    for (int i = 0; i < filters; ++i) {
      unsigned flags = 0, config = 0;
      size_t values = 0;
      const H5Z_filter_t filter = H5Pget_filter2(made.get(), static_cast<unsigned>(i), &flags,
                                                 &values, nullptr, 0, nullptr, &config);
      packed = packed || filter == H5Z_FILTER_DEFLATE;
      if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE &&
          filter != H5Z_FILTER_FLETCHER32)
        refuse("\"{}\" is packed with filter {}; known are deflate, shuffle and Fletcher-32", path,
               static_cast<int>(filter));
    }
    if (layout == H5D_CHUNKED && !dims.empty()) {
      std::vector<hsize_t> chunk(dims.size());
      if (H5Pget_chunk(made.get(), static_cast<int>(dims.size()), chunk.data()) !=
          static_cast<int>(dims.size()))
        refuse("\"{}\" has damaged chunks", path);
      // Chunks are made for the array: one that is far larger would only take memory.
      uint64_t chunk_bytes = bytes;
      for (const hsize_t side : chunk) {
        if (side == 0 || side > (uint64_t{1} << 32) / chunk_bytes)
          refuse("\"{}\" has damaged chunks", path);
        chunk_bytes *= side;
      }
      if (chunk_bytes > std::max<uint64_t>(2 * elements * bytes, uint64_t{16} << 20))
        refuse("\"{}\" has chunks of {} bytes, larger than itself", path, chunk_bytes);
    }
    const uint64_t stored = H5Dget_storage_size(dataset);
    const uint64_t needed = elements * bytes;
    if (stored > size || needed / (packed ? kMostPacking : 1) > stored)
      refuse(
          "\"{}\" says it has {} numbers of {} bytes, but {} bytes of it are stored in a file of "
          "{} bytes: it is damaged or was not written to its end",
          path, elements, bytes, stored, size);
    const haddr_t at = layout == H5D_CONTIGUOUS ? H5Dget_offset(dataset) : HADDR_UNDEF;
    if (layout == H5D_CONTIGUOUS && needed > 0 && (at > size || needed > size - at))
      refuse("the file is cut short: \"{}\" ends behind its end", path);
    return layout;
  }

  std::vector<hsize_t> dims_of(hid_t dataset, const std::string& path) const {
    const Hdf5Handle space(H5Dget_space(dataset), H5Sclose);
    const int rank = space ? H5Sget_simple_extent_ndims(space.get()) : -1;
    if (rank < 0 || H5Sget_simple_extent_type(space.get()) == H5S_NULL)
      refuse("\"{}\" has a damaged shape", path);
    std::vector<hsize_t> dims(static_cast<size_t>(rank));
    if (rank > 0 && H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr) != rank)
      refuse("\"{}\" has a damaged shape", path);
    return dims;
  }

  WeightEntry describe(const std::string& path, const std::string& entry_name) const {
    const Hdf5Handle data = dataset(path);
    WeightEntry entry{entry_name, stored_type(data.get(), path), {}, path};
    const std::vector<hsize_t> dims = dims_of(data.get(), path);
    uint64_t elements = 1;
    for (const hsize_t d : dims) {
      // No file has more bytes than 2^56, packed or not.
      if (d != 0 && elements > (uint64_t{1} << 56) / d)
        refuse("\"{}\" has the shape {}, more elements than any file holds", path,
               Shape(std::vector<int64_t>(dims.begin(), dims.end())).string());
      elements *= d;
    }
    entry.shape = Shape(std::vector<int64_t>(dims.begin(), dims.end()));
    check_storage(data.get(), path, elements, size_of(entry.type), dims);
    return entry;
  }

  void open_dataset(const std::string& path, const Shape& shape) {
    if (path == last_path && last) return;
    last_path.clear();
    const Hdf5Handle closed = std::move(last);
    const Hdf5Handle made_of = dataset(path);
    const Hdf5Handle made(H5Dget_create_plist(made_of.get()), H5Pclose);
    const Hdf5Handle access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
    if (H5Pget_layout(made.get()) == H5D_CHUNKED)
      H5Pset_chunk_cache(access.get(), 12421, kChunkCache, 1.0);
    last = {H5Dopen2(file.get(), path.c_str(), access.get()), H5Dclose};
    if (!last) refuse("\"{}\" is damaged", path);
    if (!has_all_chunks(last.get()))
      refuse("\"{}\" is damaged: a part of it is missing in the file", path);
    const Hdf5Handle type(H5Dget_type(last.get()), H5Tclose);
    last_plain = H5Pget_layout(made.get()) == H5D_CONTIGUOUS && shape.rank() > 0 &&
                 std::endian::native == std::endian::little &&
                 H5Tequal(type.get(), H5T_IEEE_F32LE) > 0;
    last_offset = last_plain ? H5Dget_offset(last.get()) : HADDR_UNDEF;
    last_plain = last_plain && last_offset != HADDR_UNDEF;
    last_path = path;
  }

  /// Contiguous float32: the bytes as they lie in the file.
  void read_plain(uint64_t offset, uint64_t bytes, char* out) const {
    if (!image.empty()) {
      std::memcpy(out, image.data() + offset, bytes);
      return;
    }
    while (bytes > 0) {
      const ssize_t got = ::pread(descriptor, out, bytes, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) refuse("cannot be read: {}", std::strerror(errno));
      if (got == 0) refuse("the file is cut short: \"{}\" ends behind its end", last_path);
      out += got;
      offset += static_cast<uint64_t>(got);
      bytes -= static_cast<uint64_t>(got);
    }
  }

  void read_rows(const std::string& path, const Shape& shape, int64_t first, int64_t count,
                 float* out) {
    open_dataset(path, shape);
    const int rank = shape.rank();
    if (last_plain) {
      const auto row = static_cast<uint64_t>(shape[0] > 0 ? shape.numel() / shape[0] : 0);
      const auto stride = row * sizeof(float);
      const uint64_t offset = last_offset + static_cast<uint64_t>(first) * stride;
      const uint64_t bytes = static_cast<uint64_t>(count) * stride;
      if (offset > size || bytes > size - offset)
        refuse("the file is cut short: \"{}\" ends behind its end", path);
      return read_plain(offset, bytes, reinterpret_cast<char*>(out));
    }
    const Hdf5Handle space(H5Dget_space(last.get()), H5Sclose);
    Hdf5Handle memory(H5Scopy(space.get()), H5Sclose);
    if (rank > 0) {
      std::vector<hsize_t> start(static_cast<size_t>(rank), 0);
      std::vector<hsize_t> extent(shape.dims().begin(), shape.dims().end());
      start[0] = static_cast<hsize_t>(first);
      extent[0] = static_cast<hsize_t>(count);
      if (H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, extent.data(),
                              nullptr) < 0)
        refuse("\"{}\" has a damaged shape", path);
      memory = {H5Screate_simple(rank, extent.data(), nullptr), H5Sclose};
    }
    if (H5Dread(last.get(), H5T_NATIVE_FLOAT, memory.get(), space.get(), H5P_DEFAULT, out) < 0)
      refuse("\"{}\" is damaged (packed data or a checksum is wrong) or the file is cut short",
             path);
  }

  std::vector<std::string> members(const std::string& path) const {
    const Hdf5Handle group = object(path);
    if (H5Iget_type(group.get()) != H5I_GROUP) refuse("\"{}\" is not a group", path);
    std::vector<std::string> names;
    const auto visit = [](hid_t, const char* member, const H5L_info_t*, void* out) -> herr_t {
      static_cast<std::vector<std::string>*>(out)->emplace_back(member);
      return 0;
    };
    if (H5Literate(group.get(), H5_INDEX_NAME, H5_ITER_INC, nullptr, visit, &names) < 0)
      refuse("group \"{}\" is damaged", path);
    std::sort(names.begin(), names.end(), natural_less);
    return names;
  }

  uint64_t identity(const std::string& path) const {
    H5O_info_t info;
    const Hdf5Handle opened = object(path);
    if (H5Oget_info2(opened.get(), &info, H5O_INFO_BASIC) < 0) refuse("\"{}\" is damaged", path);
    return info.addr;
  }

  std::vector<std::string> texts(const std::string& path, const std::string& attribute_name) const {
    const std::string what = fmt::format("attribute \"{}\" of \"/{}\"", attribute_name, path);
    const Hdf5Handle opened = object(path);
    const Hdf5Handle attribute(H5Aopen(opened.get(), attribute_name.c_str(), H5P_DEFAULT),
                               H5Aclose);
    if (!attribute) refuse("{} is missing or damaged", what);
    const Hdf5Handle type(H5Aget_type(attribute.get()), H5Tclose);
    const Hdf5Handle space(H5Aget_space(attribute.get()), H5Sclose);
    const hssize_t count = H5Sget_simple_extent_npoints(space.get());
    if (count < 0 || !type) refuse("{} is damaged", what);
    if (count == 0) return {};  // NumPy gives an empty list the type of numbers
    if (H5Tget_class(type.get()) != H5T_STRING) refuse("{} is not text", what);
    const auto total = static_cast<uint64_t>(count);
    std::vector<std::string> values;
    if (H5Tis_variable_str(type.get()) > 0) {
      if (total > size) refuse("{} has {} texts, more than the file holds", what, total);
      std::vector<char*> data(total, nullptr);
      if (H5Aread(attribute.get(), type.get(), data.data()) < 0) refuse("{} is damaged", what);
      for (char* text : data) {
        values.emplace_back(text ? text : "");
        H5free_memory(text);
      }
      return values;
    }
    const uint64_t length = H5Tget_size(type.get());
    if (length == 0 || length > kMostText || total > kMostText / length || length * total > size)
      refuse("{} has {} texts of {} bytes, more than the file holds", what, total, length);
    std::vector<char> data(length * total);
    if (H5Aread(attribute.get(), type.get(), data.data()) < 0) refuse("{} is damaged", what);
    for (uint64_t i = 0; i < total; ++i)
      values.emplace_back(data.data() + i * length, strnlen(data.data() + i * length, length));
    return values;
  }

  /// Touches everything that the readers may touch; for the trial in a child process.
  void visit(const std::string& path, std::set<uint64_t>& seen, bool chunks, int depth) {
    const auto tolerant = [](auto&& part) {
      try {
        part();
      } catch (const Error&) {  // NOLINT(bugprone-empty-catch): met again where it matters
      }
    };
    if (depth > kDeepest) return;
    if (!path.empty() && !find(path)) return;
    if (!seen.insert(identity(path)).second) return;
    bool group = false;
    {
      const Hdf5Handle opened = object(path);
      group = H5Iget_type(opened.get()) == H5I_GROUP;
      std::vector<std::string> attributes;
      const auto note = [](hid_t, const char* member, const H5A_info_t*, void* out) -> herr_t {
        static_cast<std::vector<std::string>*>(out)->emplace_back(member);
        return 0;
      };
      H5Aiterate2(opened.get(), H5_INDEX_NAME, H5_ITER_INC, nullptr, note, &attributes);
      for (const std::string& attribute : attributes) tolerant([&] { texts(path, attribute); });
    }
    if (!group) {
      tolerant([&] { visit_dataset(path, chunks); });
      return;
    }
    for (const std::string& member : members(path))
      tolerant([&] { visit(joined(path, member), seen, chunks, depth + 1); });
  }

  void visit_dataset(const std::string& path, bool chunks) {
    const WeightEntry entry = describe(path, path);
    if (entry.shape.numel() == 0) return;
    const int64_t rows = entry.shape.rank() == 0 ? 1 : entry.shape[0];
    const int64_t row = entry.shape.numel() / rows;
    if (row > int64_t{1} << 28) return;  // 1 GiB: the layout was checked, the rows are read as such
    std::vector<float> values(static_cast<size_t>(row));
    open_dataset(path, entry.shape);
    for (int64_t i = 0; i < (chunks && !last_plain ? rows : 1); ++i)
      read_rows(path, entry.shape, i, 1, values.data());
  }

  /// Refuses what the library would not survive.
  void trial() {
    constexpr uint64_t kBytesPerSecond = 20'000'000;
    const auto seconds = static_cast<unsigned>(2 + size / kBytesPerSecond);
    // Files with superblock 2 and later carry checksums of their structure.
    bool checksums = false;
    char head[9] = {};
    if (image.empty() ? ::pread(descriptor, head, 9, 0) == 9 : image.size() > 9) {
      if (!image.empty()) std::memcpy(head, image.data(), 9);
      checksums = head[8] >= 2;
    }
    const bool survived = survives_apart(
        [&] {
          open();
          std::set<uint64_t> seen;
          visit("", seen, !checksums, 0);
          last = Hdf5Handle();
          file = Hdf5Handle();  // closing frees what the library built
        },
        seconds);
    if (!survived) refuse("the file is damaged: the HDF5 library fails on its structure");
  }
};

Hdf5Reader::Hdf5Reader(const std::filesystem::path& file) : impl_(std::make_unique<Impl>()) {
  impl_->name = file.string();
  impl_->descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  check(impl_->descriptor >= 0, "{}: cannot be opened: {}", file.string(), std::strerror(errno));
  impl_->size = std::filesystem::file_size(file);
  impl_->trial();
  impl_->open();
}

Hdf5Reader::Hdf5Reader(std::string image, const std::string& name)
    : impl_(std::make_unique<Impl>()) {
  check(!image.empty(), "{}: is empty, expected an HDF5 file", name);
  impl_->name = name;
  impl_->image = std::move(image);
  impl_->size = impl_->image.size();
  impl_->trial();
  impl_->open();
}

Hdf5Reader::~Hdf5Reader() = default;
Hdf5Reader::Hdf5Reader(Hdf5Reader&&) noexcept = default;

const std::string& Hdf5Reader::name() const {
  return impl_->name;
}
bool Hdf5Reader::exists(const std::string& path) const {
  return impl_->find(path);
}
bool Hdf5Reader::is_group(const std::string& path) const {
  return H5Iget_type(impl_->object(path).get()) == H5I_GROUP;
}
std::vector<std::string> Hdf5Reader::members(const std::string& path) const {
  return impl_->members(path);
}
uint64_t Hdf5Reader::identity(const std::string& path) const {
  return impl_->identity(path);
}
bool Hdf5Reader::has_attribute(const std::string& path, const std::string& name) const {
  return H5Aexists(impl_->object(path).get(), name.c_str()) > 0;
}
std::vector<std::string> Hdf5Reader::texts(const std::string& path, const std::string& name) const {
  return impl_->texts(path, name);
}
std::optional<std::string> Hdf5Reader::text(const std::string& path,
                                            const std::string& name) const {
  if (!has_attribute(path, name)) return std::nullopt;
  const std::vector<std::string> values = texts(path, name);
  return values.size() == 1 ? values[0] : std::string();
}
WeightEntry Hdf5Reader::describe(const std::string& path, const std::string& name) const {
  return impl_->describe(path, name);
}
bool Hdf5Reader::is_plain(const std::string& path, const Shape& shape) const {
  impl_->open_dataset(path, shape);
  return impl_->last_plain;
}
void Hdf5Reader::read_rows(const std::string& path, const Shape& shape, int64_t first,
                           int64_t count, float* out) const {
  impl_->read_rows(path, shape, first, count, out);
}

}  // namespace frcnn
