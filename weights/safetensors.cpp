#include "weights/safetensors.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "kernels/launch/check.h"
#include "weights/formats.h"
#include "weights/stored_array.h"

namespace frcnn {
namespace {

/// What the header says of one array.
struct Described {
  std::string name, type;
  std::vector<int64_t> shape;
  std::vector<uint64_t> offsets;
  bool has_shape = false;
};

/// Follows the JSON of a header event by event: no more of it is in memory than what is kept, names
/// that come twice are seen, and its depth is known.
class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(const std::string& where) : where_(where) {}
  std::vector<Described> arrays;
  std::map<std::string, std::string> metadata;

  bool start_object(size_t /*elements*/) override {
    check(depth_ < 2 && !in_list_, "{}: objects inside the description of an array", where_);
    ++depth_;
    keys_.clear();
    if (depth_ == 2 && !in_metadata_) arrays.push_back({name_, {}, {}, {}, false});
    return true;
  }
  bool end_object() override {
    --depth_;
    in_metadata_ = false;
    return true;
  }
  bool key(string_t& text) override {
    if (depth_ == 1) {
      check(names_.insert(text).second, "{}: \"{}\" is there twice", where_, text);
      name_ = text;
      in_metadata_ = text == "__metadata__";
      return true;
    }
    check(keys_.insert(text).second, "{}: \"{}\" of \"{}\" is there twice", where_, text, name_);
    key_ = text;
    check(in_metadata_ || text == "dtype" || text == "shape" || text == "data_offsets",
          "{}: array \"{}\" has an unknown property \"{}\"", where_, name_, text);
    return true;
  }
  bool string(string_t& text) override {
    if (depth_ == 2 && in_metadata_)
      metadata[key_] = text;
    else if (depth_ == 2 && key_ == "dtype" && !in_list_)
      arrays.back().type = text;
    else
      unexpected();
    return true;
  }
  bool number_unsigned(number_unsigned_t number) override {
    if (!in_list_) unexpected();
    if (key_ == "shape") {
      check(number <= uint64_t{1} << 62, "{}: array \"{}\" has the size {} in its shape", where_,
            name_, number);
      arrays.back().shape.push_back(static_cast<int64_t>(number));
    } else {
      arrays.back().offsets.push_back(number);
    }
    return true;
  }
  bool start_array(size_t /*elements*/) override {
    if (depth_ != 2 || in_list_ || in_metadata_ || (key_ != "shape" && key_ != "data_offsets"))
      unexpected();
    in_list_ = true;
    if (key_ == "shape") arrays.back().has_shape = true;
    return true;
  }
  bool end_array() override {
    in_list_ = false;
    return true;
  }
  bool null() override { unexpected(); }
  bool boolean(bool /*value*/) override { unexpected(); }
  bool number_integer(number_integer_t /*value*/) override { unexpected(); }
  bool number_float(number_float_t /*value*/, const string_t& /*text*/) override { unexpected(); }
  bool binary(binary_t& /*value*/) override { unexpected(); }
  bool parse_error(size_t position, const std::string& /*token*/,
                   const nlohmann::json::exception& /*error*/) override {
    fail("{}: not JSON from byte {} on", where_, position);
  }

 private:
  [[noreturn]] void unexpected() const {
    fail(
        "{}: \"{}\" has a value of the wrong kind; expected are {{\"dtype\": text, \"shape\": "
        "[numbers from 0 on], \"data_offsets\": [begin, end]}}, and texts in __metadata__",
        where_, name_);
  }

  const std::string& where_;
  int depth_ = 0;
  bool in_list_ = false, in_metadata_ = false;
  std::string name_, key_;
  std::set<std::string> names_, keys_;
};

StoredType type_named(const std::string& name, const std::string& where) {
  static const std::map<std::string, StoredType> kTypes = {
      {"F64", StoredType::f64},     {"F32", StoredType::f32}, {"F16", StoredType::f16},
      {"BF16", StoredType::bf16},   {"I64", StoredType::i64}, {"I32", StoredType::i32},
      {"I16", StoredType::i16},     {"I8", StoredType::i8},   {"U8", StoredType::u8},
      {"BOOL", StoredType::boolean}};
  const auto at = kTypes.find(name);
  check(at != kTypes.end(),
        "{}: its numbers are of type \"{}\"; known are F64, F32, F16, BF16, I64, I32, I16, I8, U8 "
        "and BOOL",
        where, name);
  return at->second;
}

class Safetensors final : public StoredArrayFile {
 public:
  explicit Safetensors(const std::filesystem::path& file)
      : StoredArrayFile(file, "safetensors", WeightOrder::torch), file_(file) {
    constexpr uint64_t kLengthBytes = 8, kMostHeader = 100'000'000;
    const std::string where = file.string() + ": header";
    std::array<uint8_t, kLengthBytes> head{};
    file_.read(0, head.data(), head.size());
    uint64_t length = 0;
    for (size_t i = kLengthBytes; i-- > 0;) length = length << 8 | head[i];
    check(length <= kMostHeader, "{}: {} bytes are claimed; at most {} are read", where, length,
          kMostHeader);
    check(length <= file_.size() - kLengthBytes,
          "{}: {} bytes are claimed, but the file has {}; it is cut short", where, length,
          file_.size());
    std::string json(length, '\0');
    file_.read(kLengthBytes, json.data(), length);
    check(json.starts_with('{'), "{}: does not begin with '{{'", where);
    HeaderReader reader(where);
    nlohmann::json::sax_parse(json, &reader);
    metadata_ = std::move(reader.metadata);
    const uint64_t begin = kLengthBytes + length;
    check_offsets(reader.arrays, file_.size() - begin);
    data_.emplace(file_, begin, file_.size() - begin);
    for (const Described& array : reader.arrays) keep(array);
  }

 private:
  std::string where(const Described& array) const {
    return path().string() + ": array \"" + array.name + "\"";
  }

  /// The arrays must fill the file from the header to its end, without overlap and without gaps, in
  /// which something else could hide.
  void check_offsets(const std::vector<Described>& arrays, uint64_t bytes) const {
    std::vector<const Described*> sorted;
    for (const Described& array : arrays) {
      check(!array.type.empty() && array.has_shape && array.offsets.size() == 2,
            "{}: dtype, shape or the two data_offsets are missing", where(array));
      check(array.offsets[0] <= array.offsets[1] && array.offsets[1] <= bytes,
            "{}: data_offsets {} to {} do not lie inside the {} bytes of data{}", where(array),
            array.offsets[0], array.offsets[1], bytes,
            array.offsets[1] > bytes ? "; the file may be cut short" : "");
      sorted.push_back(&array);
    }
    std::sort(sorted.begin(), sorted.end(),
              [](const Described* a, const Described* b) { return a->offsets < b->offsets; });
    uint64_t at = 0;
    for (const Described* array : sorted) {
      check(array->offsets[0] == at, "{}: begins at byte {} of the data, but {} is expected: {}",
            where(*array), array->offsets[0], at,
            array->offsets[0] < at ? "it overlaps another" : "there is a gap before it");
      at = array->offsets[1];
    }
    check(at == bytes, "{}: the arrays end at byte {} of the data, the file at {}", path().string(),
          at, bytes);
  }

  void keep(const Described& described) {
    StoredArray array;
    array.type = type_named(described.type, where(described));
    array.shape = Shape(described.shape);
    array.strides = row_major_strides(array.shape);
    array.begin = described.offsets[0];
    const uint64_t bytes = described.offsets[1] - described.offsets[0];
    add_array(described.name, array, *data_);  // from here on its number of elements is sane
    check(static_cast<uint64_t>(array.shape.numel()) * size_of(array.type) == bytes,
          "{}: shape {} of {} takes {} bytes, but the data_offsets give {}", where(described),
          array.shape.string(), described.type,
          static_cast<uint64_t>(array.shape.numel()) * size_of(array.type), bytes);
  }

  RawFile file_;
  std::optional<SourcePart> data_;
};

}  // namespace

std::unique_ptr<WeightFile> open_safetensors(const std::filesystem::path& file) {
  return std::make_unique<Safetensors>(file);
}

}  // namespace frcnn
