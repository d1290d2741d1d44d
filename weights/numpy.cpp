#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>

#include "kernels/launch/check.h"
#include "weights/formats.h"
#include "weights/stored_array.h"
#include "weights/zip_source.h"

namespace frcnn {
namespace {

/// The description of an array in a .npy file, a Python dictionary such as
///   {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  struct Header {
    std::string type;
    bool fortran = false;
    std::vector<int64_t> shape;
  };

  Header parse() {
    Header header;
    bool has_type = false, has_order = false, has_shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted();
      expect(':');
      bool& seen = key == "descr" ? has_type : key == "fortran_order" ? has_order : has_shape;
      if (key == "descr")
        header.type = quoted();
      else if (key == "fortran_order")
        header.fortran = truth();
      else if (key == "shape")
        header.shape = sizes();
      else
        malformed();
      if (seen) malformed();
      seen = true;
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_spaces();
    if (!text_.empty() || !has_type || !has_order || !has_shape) malformed();
    return header;
  }

 private:
  void skip_spaces() {
    while (!text_.empty() && (text_.front() == ' ' || text_.front() == '\n'))
      text_.remove_prefix(1);
  }
  bool accept(char c) {
    skip_spaces();
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!accept(c)) malformed();
  }
  std::string quoted() {
    const char quote = accept('"') ? '"' : '\'';
    if (quote == '\'') expect('\'');
    const size_t end = text_.find(quote);
    if (end == std::string_view::npos) malformed();
    std::string out(text_.substr(0, end));
    text_.remove_prefix(end + 1);
    return out;
  }
  bool truth() {
    skip_spaces();
    for (const std::string_view word : {"True", "False"})
      if (text_.starts_with(word)) {
        text_.remove_prefix(word.size());
        return word == "True";
      }
    malformed();
  }
  std::vector<int64_t> sizes() {
    std::vector<int64_t> out;
    expect('(');
    while (!accept(')')) {
      skip_spaces();
      int64_t size = 0;
      const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), size);
      if (error != std::errc()) malformed();
      text_.remove_prefix(static_cast<size_t>(end - text_.data()));
      accept('L');  // Python 2
      check(size >= 0, "{}: size {} in the shape", where_, size);
      check(out.size() < 32, "{}: more than 32 dimensions", where_);
      out.push_back(size);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return out;
  }
  [[noreturn]] void malformed() const {
    fail(
        "{}: the description of the array is not {{'descr': type, 'fortran_order': True or False, "
        "'shape': sizes}}; structured types are not read",
        where_);
  }

  std::string_view text_;
  const std::string& where_;
};

/// '<f4': order of bytes, kind, bytes per number.
void set_type(const std::string& type, StoredArray& array, const std::string& where) {
  struct Known {
    std::string_view name;
    StoredType type;
  };
  constexpr Known kKnown[] = {
      {"f8", StoredType::f64}, {"f4", StoredType::f32}, {"f2", StoredType::f16},
      {"i8", StoredType::i64}, {"i4", StoredType::i32}, {"i2", StoredType::i16},
      {"i1", StoredType::i8},  {"u1", StoredType::u8},  {"b1", StoredType::boolean}};
  const bool ordered = !type.empty() && std::string_view("<>|=").find(type[0]) != std::string::npos;
  const auto* const known = std::find_if(std::begin(kKnown), std::end(kKnown), [&](const Known& k) {
    return ordered && std::string_view(type).substr(1) == k.name;
  });
  check(
      known != std::end(kKnown),
      "{}: its numbers are of type '{}'; known are f8, f4, f2, i8, i4, i2, i1, u1 and b1 in either "
      "order of bytes. Save it as float32: array.astype('<f4')",
      where, type);
  array.type = known->type;
  array.swapped = type[0] == '>';
}

/// One array: "\x93NUMPY", version, length of the description, description, numbers.
StoredArray parse_npy(const ByteSource& source, const std::string& where) {
  constexpr size_t kMostHeader = 65536;
  std::array<uint8_t, 12> head{};
  check(source.size() >= 10, "{}: cut short", where);
  source.read(0, head.data(), 10);
  check(std::memcmp(head.data(), "\x93NUMPY", 6) == 0, "{}: not an array of NumPy", where);
  const int version = head[6];
  check(version >= 1 && version <= 3, "{}: version {} of NumPy's format; known are 1 to 3", where,
        version);
  uint64_t length = head[8] | uint64_t{head[9]} << 8, begin = 10;
  if (version > 1) {
    check(source.size() >= 12, "{}: cut short", where);
    source.read(10, head.data() + 10, 2);
    length |= uint64_t{head[10]} << 16 | uint64_t{head[11]} << 24;
    begin = 12;
  }
  check(length <= kMostHeader && length <= source.size() - begin,
        "{}: the description of the array claims {} bytes", where, length);
  std::string text(length, '\0');
  source.read(begin, text.data(), length);
  const HeaderParser::Header header = HeaderParser(text, where).parse();

  StoredArray array;
  set_type(header.type, array, where);
  array.shape = Shape(header.shape);
  array.strides =
      header.fortran ? column_major_strides(array.shape) : row_major_strides(array.shape);
  array.begin = begin + length;
  return array;
}

class NumpyFile final : public StoredArrayFile {
 public:
  explicit NumpyFile(const std::filesystem::path& file)
      : StoredArrayFile(file, "NumPy", WeightOrder::torch) {
    auto raw = std::make_unique<RawFile>(file);
    char first = 0;
    raw->read(0, &first, 1);
    if (first == 'P')
      add_archive();
    else
      add_one(file.stem().string(), std::move(raw));
  }

 private:
  void add_archive() {
    archive_.emplace(path());
    for (size_t i = 0; i < archive_->entries().size(); ++i) {
      const std::string& name = archive_->entries()[i].name;
      check(name.ends_with(".npy"), "{}: entry \"{}\" is not an array of NumPy", path().string(),
            name);
      add_one(name.substr(0, name.size() - 4),
              std::make_unique<ZipSource>(*archive_, static_cast<int64_t>(i)));
    }
  }

  void add_one(const std::string& name, std::unique_ptr<ByteSource> source) {
    StoredArray array = parse_npy(*source, fmt::format("{}: array \"{}\"", path().string(), name));
    const uint64_t end = source->size();
    add_array(name, array, *source);
    const uint64_t needed = array.begin + static_cast<uint64_t>(array.shape.numel()) *
                                              static_cast<uint64_t>(size_of(array.type));
    check(needed == end, "{}: array \"{}\" takes {} bytes with its description, but has {}",
          path().string(), name, needed, end);
    sources_.push_back(std::move(source));
  }

  std::optional<ZipArchive> archive_;
  std::vector<std::unique_ptr<ByteSource>> sources_;
};

}  // namespace

std::unique_ptr<WeightFile> open_numpy(const std::filesystem::path& file) {
  return std::make_unique<NumpyFile>(file);
}

}  // namespace frcnn
