#include "weights/zip_archive.h"

#include <zip.h>

#include <algorithm>
#include <array>
#include <map>

#include "kernels/launch/check.h"

namespace frcnn {

namespace fs = std::filesystem;

namespace {

/// Deflate packs at most 258 bytes into 2 bits, so that 1032 is the most it can reach; an entry
/// that claims more is made to fill the memory of whoever believes it.
constexpr uint64_t kMostUnpackedPerPacked = 1032;
constexpr uint64_t kSlack = 4096;
constexpr zip_int64_t kMostEntries = 1 << 20;

std::string text_of(int code) {
  zip_error_t error;
  zip_error_init_with_code(&error, code);
  std::string text = zip_error_strerror(&error);
  zip_error_fini(&error);
  return text;
}

}  // namespace

struct ZipArchive::Impl {
  fs::path file;
  zip_t* zip = nullptr;
  std::vector<Entry> entries;
  std::map<std::string, int64_t> by_name;

  explicit Impl(const fs::path& path);
  ~Impl() { zip_discard(zip); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void add_entry(zip_uint64_t index, uint64_t file_size);
};

ZipArchive::Impl::Impl(const fs::path& path) : file(path) {
  int code = 0;
  // CHECKCONS: what the directory says of an entry must be what stands before the entry itself.
  zip = zip_open(file.c_str(), ZIP_RDONLY | ZIP_CHECKCONS, &code);
  check(zip != nullptr, "{}: not a zip archive, or one that is damaged or cut short ({})",
        file.string(), text_of(code));
  try {
    const zip_int64_t count = zip_get_num_entries(zip, 0);
    check(count <= kMostEntries, "{}: {} entries in this zip archive; at most {} are read",
          file.string(), count, kMostEntries);
    const uint64_t file_size = fs::file_size(file);
    entries.reserve(static_cast<size_t>(count));
    for (zip_int64_t i = 0; i < count; ++i) add_entry(static_cast<zip_uint64_t>(i), file_size);
  } catch (...) {
    zip_discard(zip);
    throw;
  }
}

void ZipArchive::Impl::add_entry(zip_uint64_t index, uint64_t file_size) {
  zip_stat_t stat;
  check(zip_stat_index(zip, index, 0, &stat) == 0, "{}: entry {}: {}", file.string(), index,
        zip_strerror(zip));
  constexpr zip_uint64_t kNeeded =
      ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
  check((stat.valid & kNeeded) == kNeeded, "{}: entry {} lacks a name or a size", file.string(),
        index);
  const std::string name = stat.name;
  check(!(stat.valid & ZIP_STAT_ENCRYPTION_METHOD) || stat.encryption_method == ZIP_EM_NONE,
        "{}: entry \"{}\" is encrypted; unpack the archive and pack it again without a password",
        file.string(), name);
  check(stat.comp_method == ZIP_CM_STORE || stat.comp_method == ZIP_CM_DEFLATE,
        "{}: entry \"{}\" is packed by method {}; known are stored (0) and deflated (8)",
        file.string(), name, stat.comp_method);
  check(stat.comp_size <= file_size, "{}: entry \"{}\" claims {} packed bytes in a file of {}",
        file.string(), name, stat.comp_size, file_size);
  if (stat.comp_method == ZIP_CM_STORE)
    check(stat.size == stat.comp_size,
          "{}: entry \"{}\" is stored, but claims {} bytes packed and {} unpacked", file.string(),
          name, stat.comp_size, stat.size);
  else
    check(stat.size <= stat.comp_size * kMostUnpackedPerPacked + kSlack,
          "{}: entry \"{}\" claims to unpack from {} to {} bytes, more than deflate can",
          file.string(), name, stat.comp_size, stat.size);
  check(by_name.emplace(name, static_cast<int64_t>(entries.size())).second,
        "{}: entry \"{}\" is there twice", file.string(), name);
  entries.push_back({name, stat.size});
}

ZipArchive::ZipArchive(const fs::path& file) : impl_(std::make_unique<Impl>(file)) {}
ZipArchive::~ZipArchive() = default;
ZipArchive::ZipArchive(ZipArchive&&) noexcept = default;
ZipArchive& ZipArchive::operator=(ZipArchive&&) noexcept = default;

const std::vector<ZipArchive::Entry>& ZipArchive::entries() const {
  return impl_->entries;
}

int64_t ZipArchive::find(const std::string& name) const {
  const auto at = impl_->by_name.find(name);
  return at == impl_->by_name.end() ? -1 : at->second;
}

std::string ZipArchive::read(int64_t index) const {
  Reader reader(*this, index);
  // Grown as bytes arrive: a size that was made up asks for no memory.
  constexpr uint64_t kPart = 16 << 20;
  const uint64_t size = impl_->entries[static_cast<size_t>(index)].size;
  std::string out;
  while (out.size() < size) {
    const uint64_t part = std::min(kPart, size - out.size());
    out.resize(out.size() + part);
    reader.read(out.data() + out.size() - part, part);
  }
  return out;
}

struct ZipArchive::Reader::Impl {
  std::string where;  ///< archive and entry, for messages
  zip_file_t* stream = nullptr;
  uint64_t size = 0;
  uint64_t position = 0;

  Impl() = default;
  ~Impl() {
    if (stream) zip_fclose(stream);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void read(char* out, uint64_t bytes);
  /// libzip compares the checksum when it is asked for a byte past the last one.
  void check_end();
};

void ZipArchive::Reader::Impl::read(char* out, uint64_t bytes) {
  check(bytes <= size - position, "{}: {} bytes are wanted at {}, but there are {} in all", where,
        bytes, position, size);
  for (uint64_t done = 0; done < bytes;) {
    const zip_int64_t got = zip_fread(stream, out + done, bytes - done);
    check(got >= 0, "{}: damaged ({})", where, zip_file_strerror(stream));
    check(got > 0, "{}: ends after {} of {} bytes", where, position, size);
    done += static_cast<uint64_t>(got);
    position += static_cast<uint64_t>(got);
  }
  if (position == size) check_end();
}

void ZipArchive::Reader::Impl::check_end() {
  char more = 0;
  const zip_int64_t got = zip_fread(stream, &more, 1);
  check(got >= 0, "{}: damaged ({})", where, zip_file_strerror(stream));
  check(got == 0, "{}: unpacks to more than the {} bytes that it claims", where, size);
}

ZipArchive::Reader::Reader(const ZipArchive& archive, int64_t index)
    : impl_(std::make_unique<Impl>()) {
  const ZipArchive::Impl& from = *archive.impl_;
  check(index >= 0 && index < static_cast<int64_t>(from.entries.size()),
        "{}: entry {} of {} is wanted", from.file.string(), index, from.entries.size());
  const Entry& entry = from.entries[static_cast<size_t>(index)];
  impl_->where = from.file.string() + ": entry \"" + entry.name + "\"";
  impl_->size = entry.size;
  impl_->stream = zip_fopen_index(from.zip, static_cast<zip_uint64_t>(index), 0);
  check(impl_->stream != nullptr, "{}: cannot be unpacked ({})", impl_->where,
        zip_strerror(from.zip));
  if (entry.size == 0) impl_->check_end();
}

ZipArchive::Reader::~Reader() = default;
ZipArchive::Reader::Reader(Reader&&) noexcept = default;
ZipArchive::Reader& ZipArchive::Reader::operator=(Reader&&) noexcept = default;

void ZipArchive::Reader::read(void* out, uint64_t bytes) {
  impl_->read(static_cast<char*>(out), bytes);
}

void ZipArchive::Reader::skip(uint64_t bytes) {
  std::array<char, 1 << 16> rest;
  while (bytes > 0) {
    const uint64_t part = std::min<uint64_t>(bytes, rest.size());
    impl_->read(rest.data(), part);
    bytes -= part;
  }
}

uint64_t ZipArchive::Reader::position() const {
  return impl_->position;
}

}  // namespace frcnn
