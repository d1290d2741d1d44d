#include "apps/ops/case_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <limits>

#include "weights/hdf5_handle.h"

namespace frcnn::apps::ops {
namespace {

hid_t memory_type(Type type) {
  switch (type) {
    case Type::f32:
      return H5T_NATIVE_FLOAT;
    case Type::f64:
      return H5T_NATIVE_DOUBLE;
    case Type::i32:
      return H5T_NATIVE_INT32;
    case Type::i64:
      return H5T_NATIVE_INT64;
    case Type::u8:
      return H5T_NATIVE_UINT8;
  }
  return -1;
}
hid_t file_type(Type type) {
  switch (type) {
    case Type::f32:
      return H5T_IEEE_F32LE;
    case Type::f64:
      return H5T_IEEE_F64LE;
    case Type::i32:
      return H5T_STD_I32LE;
    case Type::i64:
      return H5T_STD_I64LE;
    case Type::u8:
      return H5T_STD_U8LE;
  }
  return -1;
}

Hdf5Handle succeed(hid_t id, Hdf5Handle::Close close, const std::string& what) {
  check(id >= 0, "cannot {}", what);
  return {id, close};
}

Extent extent_of(hid_t space) {
  std::vector<hsize_t> sides(static_cast<size_t>(std::max(0, H5Sget_simple_extent_ndims(space))));
  H5Sget_simple_extent_dims(space, sides.data(), nullptr);
  return {sides.begin(), sides.end()};
}

/// Integers of any width as the type that the documentation wants; those that do not fit are
/// refused.
Array narrowed(const Array& wide, Type type, const std::string& name) {
  if (type == Type::i64) return wide;
  const auto in_range = [&](int64_t v) {
    return type == Type::u8 ? v >= 0 && v <= 255
                            : v >= std::numeric_limits<int32_t>::min() &&
                                  v <= std::numeric_limits<int32_t>::max();
  };
  const std::vector<int64_t> values = wide.as<int64_t>();
  for (const int64_t v : values)
    check(in_range(v), "dataset '{}': {} does not fit {}", name, v, type_name(type));
  Array array(type, wide.extent());
  array.set(values);
  return array;
}

Array read_array(hid_t file, const std::string& name, Type wanted) {
  const Hdf5Handle set = succeed(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose,
                                 fmt::format("open dataset '{}'", name));
  const Hdf5Handle space(H5Dget_space(set.get()), H5Sclose);
  check(H5Sget_simple_extent_type(space.get()) != H5S_NULL, "dataset '{}' is empty", name);
  const Hdf5Handle type(H5Dget_type(set.get()), H5Tclose);
  const H5T_class_t kind = H5Tget_class(type.get());
  const bool whole = kind == H5T_INTEGER || kind == H5T_ENUM;  // h5py's booleans are an enum
  check(whole || kind == H5T_FLOAT, "dataset '{}' does not hold numbers", name);
  check(whole != is_float(wanted), "dataset '{}' must hold {} numbers, found {}", name,
        is_float(wanted) ? "floating-point" : type_name(wanted),
        whole ? "integers" : "floating-point ones");
  const Type read = whole ? Type::i64 : H5Tget_size(type.get()) > 4 ? Type::f64 : Type::f32;
  Array array(read, extent_of(space.get()));
  if (array.count() > 0)
    check(H5Dread(set.get(), memory_type(read), H5S_ALL, H5S_ALL, H5P_DEFAULT, array.raw()) >= 0,
          "cannot read dataset '{}'", name);
  return whole ? narrowed(array, wanted, name) : array;
}

std::string read_string(hid_t attribute, hid_t type) {
  if (H5Tis_variable_str(type) > 0) {
    char* text = nullptr;
    const Hdf5Handle memory(H5Tcopy(type), H5Tclose);
    if (H5Aread(attribute, memory.get(), &text) < 0 || text == nullptr) return "";
    std::string result = text;
    H5free_memory(text);
    return result;
  }
  std::string text(H5Tget_size(type), '\0');
  H5Aread(attribute, type, text.data());
  return text.substr(0, text.find('\0'));
}

/// An attribute as the kind of value that `like` is.
Value read_attribute(hid_t file, const std::string& name, const Value& like) {
  const Hdf5Handle attribute(H5Aopen(file, name.c_str(), H5P_DEFAULT), H5Aclose);
  const Hdf5Handle type(H5Aget_type(attribute.get()), H5Tclose);
  const Hdf5Handle space(H5Aget_space(attribute.get()), H5Sclose);
  const H5T_class_t kind = H5Tget_class(type.get());
  if (std::holds_alternative<std::string>(like)) {
    check(kind == H5T_STRING, "attribute '{}' must be a text", name);
    return read_string(attribute.get(), type.get());
  }
  const bool whole = kind == H5T_INTEGER || kind == H5T_ENUM;
  check(whole || kind == H5T_FLOAT, "attribute '{}' must be a number", name);
  const bool is_list = std::holds_alternative<std::vector<double>>(like);
  const auto count = static_cast<size_t>(H5Sget_simple_extent_npoints(space.get()));
  check(is_list || count == 1, "attribute '{}' must be one number, found {}", name, count);
  if (std::holds_alternative<int64_t>(like) || std::holds_alternative<bool>(like)) {
    check(whole, "attribute '{}' must be an integer", name);
    int64_t value = 0;
    check(H5Aread(attribute.get(), H5T_NATIVE_INT64, &value) >= 0, "cannot read attribute '{}'",
          name);
    if (std::holds_alternative<bool>(like)) return value != 0;
    return value;
  }
  std::vector<double> values(count);
  check(count == 0 || H5Aread(attribute.get(), H5T_NATIVE_DOUBLE, values.data()) >= 0,
        "cannot read attribute '{}'", name);
  if (is_list) return values;
  return values.front();
}

std::vector<std::string> dataset_names(hid_t file) {
  std::vector<std::string> names;
  H5Literate(
      file, H5_INDEX_NAME, H5_ITER_INC, nullptr,
      [](hid_t, const char* name, const H5L_info_t*, void* list) -> herr_t {
        static_cast<std::vector<std::string>*>(list)->emplace_back(name);
        return 0;
      },
      &names);
  return names;
}

std::vector<std::string> attribute_names(hid_t file) {
  std::vector<std::string> names;
  H5Aiterate2(
      file, H5_INDEX_NAME, H5_ITER_INC, nullptr,
      [](hid_t, const char* name, const H5A_info_t*, void* list) -> herr_t {
        static_cast<std::vector<std::string>*>(list)->emplace_back(name);
        return 0;
      },
      &names);
  return names;
}

std::string did_you_mean(const std::string& name, const std::vector<std::string>& candidates) {
  const std::string best = nearest_name(name, candidates);
  return best.empty() ? fmt::format("; there are {}", fmt::join(candidates, ", "))
                      : fmt::format(": did you mean '{}'?", best);
}

Case read_content(hid_t file, const Operation& op) {
  Case content;
  std::map<std::string, Type> wanted;
  std::vector<std::string> names;
  for (const ArrayDoc& doc : op.inputs) wanted[doc.name] = doc.type;
  for (const ArrayDoc& doc : op.outputs)
    if (doc.gradient) wanted["d_" + doc.name] = Type::f32;
  for (const auto& [name, type] : wanted) names.push_back(name);
  const std::vector<std::string> attributes = attribute_names(file);
  if (std::find(attributes.begin(), attributes.end(), "operation") != attributes.end()) {
    const Value of = read_attribute(file, "operation", Value(std::string()));
    check(std::get<std::string>(of) == op.name, "is a case of the operation '{}', not of '{}'",
          std::get<std::string>(of), op.name);
  }
  for (const std::string& name : dataset_names(file)) {
    check(wanted.contains(name), "[{}] has no array '{}'{}", op.name, name,
          did_you_mean(name, names));
    content.arrays[name] = read_array(file, name, wanted[name]);
  }
  names.clear();
  for (const ParameterDoc& doc : op.params) names.push_back(doc.name);
  for (const std::string& name : attributes) {
    if (name == "operation") continue;
    const ParameterDoc* doc = op.parameter(name);
    check(doc != nullptr, "[{}] has no parameter '{}'{}", op.name, name, did_you_mean(name, names));
    content.params[name] = read_attribute(file, name, doc->standard);
  }
  return content;
}

Hdf5Handle untimed(hid_t cls) {
  Hdf5Handle list(H5Pcreate(cls), H5Pclose);
  H5Pset_obj_track_times(list.get(), 0);
  return list;
}

void write_attribute(hid_t file, const std::string& name, const Value& value) {
  Hdf5Handle type, space(H5Screate(H5S_SCALAR), H5Sclose);
  const void* data = nullptr;
  int64_t whole = 0;
  std::string text;
  if (const auto* v = std::get_if<int64_t>(&value)) whole = *v;
  if (const auto* v = std::get_if<bool>(&value)) whole = *v ? 1 : 0;
  if (const auto* v = std::get_if<std::string>(&value)) {
    text = v->empty() ? std::string(1, '\0') : *v;
    type = Hdf5Handle(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type.get(), text.size());
    H5Tset_cset(type.get(), H5T_CSET_UTF8);
    H5Tset_strpad(type.get(), H5T_STR_NULLPAD);
    data = text.data();
  } else if (const auto* numbers = std::get_if<std::vector<double>>(&value)) {
    const hsize_t count = numbers->size();
    space = Hdf5Handle(H5Screate_simple(1, &count, nullptr), H5Sclose);
    type = Hdf5Handle(H5Tcopy(H5T_IEEE_F64LE), H5Tclose);
    data = numbers->data();
  } else if (const auto* number = std::get_if<double>(&value)) {
    type = Hdf5Handle(H5Tcopy(H5T_IEEE_F64LE), H5Tclose);
    data = number;
  } else {
    type = Hdf5Handle(H5Tcopy(H5T_STD_I64LE), H5Tclose);
    data = &whole;
  }
  const Hdf5Handle attribute =
      succeed(H5Acreate2(file, name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT),
              H5Aclose, fmt::format("write attribute '{}'", name));
  check(H5Awrite(attribute.get(), type.get(), data) >= 0, "cannot write attribute '{}'", name);
}

void write_array(hid_t file, const std::string& name, const Array& array) {
  const std::vector<hsize_t> sides(array.extent().begin(), array.extent().end());
  const Hdf5Handle space(
      sides.empty() ? H5Screate(H5S_SCALAR)
                    : H5Screate_simple(static_cast<int>(sides.size()), sides.data(), nullptr),
      H5Sclose);
  const Hdf5Handle properties = untimed(H5P_DATASET_CREATE);
  const Hdf5Handle set =
      succeed(H5Dcreate2(file, name.c_str(), file_type(array.type()), space.get(), H5P_DEFAULT,
                         properties.get(), H5P_DEFAULT),
              H5Dclose, fmt::format("write dataset '{}'", name));
  FRCNN_INVARIANT(array.stored() == array.count());
  if (array.count() > 0)
    check(H5Dwrite(set.get(), memory_type(array.type()), H5S_ALL, H5S_ALL, H5P_DEFAULT,
                   array.raw()) >= 0,
          "cannot write dataset '{}'", name);
}

}  // namespace

Case read_case(const std::filesystem::path& file, const Operation& op) {
  silence_hdf5();
  check(std::filesystem::exists(file), "{}: there is no such file", file.string());
  check(H5Fis_hdf5(file.c_str()) > 0, "{}: is not an HDF5 file", file.string());
  const Hdf5Handle handle(H5Fopen(file.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  check(static_cast<bool>(handle), "{}: is cut short or damaged", file.string());
  try {
    return read_content(handle.get(), op);
  } catch (const Error& error) {
    fail("{}: {}", file.string(), error.what());
  }
}

void write_case(const std::filesystem::path& file, const Operation& op, const Case& content) {
  silence_hdf5();
  std::filesystem::path temporary = file;
  temporary += ".tmp";
  try {
    const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : ".";
    check(std::filesystem::is_directory(folder), "there is no folder {}", folder.string());
    check(access(folder.c_str(), W_OK) == 0, "folder {}: {}", folder.string(),
          std::strerror(errno));
    const Hdf5Handle creation = untimed(H5P_FILE_CREATE);
    Hdf5Handle handle =
        succeed(H5Fcreate(temporary.c_str(), H5F_ACC_TRUNC, creation.get(), H5P_DEFAULT), H5Fclose,
                "make the file");
    write_attribute(handle.get(), "operation", Value(op.name));
    for (const auto& [name, value] : content.params) write_attribute(handle.get(), name, value);
    for (const auto& [name, array] : content.arrays) write_array(handle.get(), name, array);
    check(H5Fflush(handle.get(), H5F_SCOPE_GLOBAL) >= 0 && handle.reset(), "cannot write: {}",
          std::strerror(errno));
    check(std::rename(temporary.c_str(), file.c_str()) == 0, "{}", std::strerror(errno));
  } catch (const Error& error) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    fail("{}: cannot write the arrays: {}", file.string(), error.what());
  }
}

namespace {
/// The whole text as a number, or nothing.
template <typename T>
bool parse_number(const std::string& text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

bool parse_value(const std::string& text, Value& value) {
  if (auto* whole = std::get_if<int64_t>(&value)) return parse_number(text, *whole);
  if (auto* number = std::get_if<double>(&value)) return parse_number(text, *number);
  if (auto* truth = std::get_if<bool>(&value)) {
    *truth = text == "true" || text == "1";
    return *truth || text == "false" || text == "0";
  }
  if (auto* word = std::get_if<std::string>(&value)) {
    *word = text;
    return true;
  }
  auto& list = std::get<std::vector<double>>(value);
  list.clear();
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(',', begin), text.size());
    if (!parse_number(text.substr(begin, end - begin), list.emplace_back())) return false;
    begin = end + 1;
  }
  return true;
}
}  // namespace

std::pair<std::string, Value> parse_setting(const Operation& op, const std::string& setting) {
  const size_t equals = setting.find('=');
  if (equals == std::string::npos)
    throw UsageError(fmt::format("--set {}: expected name=value", setting));
  const std::string name = setting.substr(0, equals), text = setting.substr(equals + 1);
  const ParameterDoc* doc = op.parameter(name);
  if (doc == nullptr) {
    std::vector<std::string> names;
    for (const ParameterDoc& d : op.params) names.push_back(d.name);
    throw UsageError(fmt::format("--set {}: [{}] has no parameter '{}'{}", setting, op.name, name,
                                 did_you_mean(name, names)));
  }
  Value value = doc->standard;
  constexpr const char* kKinds[] = {"an integer", "a number", "true or false", "a word",
                                    "numbers with commas between them"};
  if (!parse_value(text, value))
    throw UsageError(fmt::format("--set {}: {} must be {}, found '{}'", setting, name,
                                 kKinds[doc->standard.index()], text));
  return {name, value};
}

}  // namespace frcnn::apps::ops
