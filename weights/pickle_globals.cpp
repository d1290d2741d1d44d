#include "weights/pickle_globals.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "kernels/launch/check.h"

namespace frcnn::pickle {
namespace {

// clang-format off
constexpr std::string_view kKnown[] = {
  "collections OrderedDict",
  "builtins set", "builtins frozenset", "__builtin__ set", "__builtin__ frozenset",
  "_codecs encode",  // bytes, in protocol 2
  "argparse Namespace",  // settings that torchvision's own training scripts save
  "torch Size", "torch device",
  "torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2",
  "torch._utils _rebuild_tensor_v3",
  "torch._utils _rebuild_parameter", "torch._utils _rebuild_parameter_with_state",
  "torch.storage UntypedStorage", "torch UntypedStorage",
};
constexpr std::string_view kStorages[] = {
  "DoubleStorage", "FloatStorage", "HalfStorage", "BFloat16Storage", "LongStorage", "IntStorage",
  "ShortStorage", "CharStorage", "ByteStorage", "BoolStorage", "ComplexFloatStorage",
  "ComplexDoubleStorage", "QInt8Storage", "QUInt8Storage", "QInt32Storage",
};
constexpr std::string_view kTypes[] = {
  "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
  "uint16", "uint32", "uint64", "complex32", "complex64", "complex128",
  "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu",
};
// clang-format on

bool contains(const auto& names, std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

bool known(const std::string& module, const std::string& name) {
  if (contains(kKnown, module + " " + name)) return true;
  if ((module == "torch" || module == "torch.cuda") && contains(kStorages, name)) return true;
  return module == "torch" && contains(kTypes, name);
}

}  // namespace

void Globals::refuse(const std::string& module, const std::string& name) const {
  // What a hostile file says is shown without control characters.
  std::string shown = module + "." + name;
  if (shown.size() > 200) shown = shown.substr(0, 200) + "...";
  for (char& c : shown)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  fail(
      "{}: its pickle asks for \"{}\", which no file of weights needs; it was refused and nothing "
      "was run. If you trust where the file comes from, load it with PyTorch and save its tensors "
      "alone: torch.save(model.state_dict(), \"weights.pth\"), or as safetensors",
      where_, shown);
}

Value Globals::named(const std::string& module, const std::string& name) const {
  if (!known(module, name)) refuse(module, name);
  return {.kind = Kind::global, .text = module + " " + name};
}

const Value& Globals::argument(const Value& arguments, size_t index, Kind kind) const {
  check(index < arguments.items.size(),
        "{}: malformed pickle: a call with {} arguments, but {} or "
        "more are needed",
        where_, arguments.items.size(), index + 1);
  const Value& value = document_[arguments.items[index]];
  check(value.kind == kind, "{}: malformed pickle: argument {} of a call has the wrong type",
        where_, index);
  return value;
}

std::vector<int64_t> Globals::integers(const Value& tuple) const {
  std::vector<int64_t> out;
  for (const Id item : tuple.items) {
    check(document_[item].kind == Kind::integer,
          "{}: malformed pickle: a tensor's sizes and strides are integers", where_);
    out.push_back(document_[item].integer);
  }
  return out;
}

Value Globals::pairs_to_dict(const Value& pairs) const {
  Value dict{.kind = Kind::dict};
  for (const Id id : pairs.items) {
    const Value& pair = document_[id];
    check((pair.kind == Kind::list || pair.kind == Kind::tuple) && pair.items.size() == 2,
          "{}: malformed pickle: a dictionary is made of pairs", where_);
    dict.items.insert(dict.items.end(), pair.items.begin(), pair.items.end());
  }
  return dict;
}

Value Globals::rebuilt_tensor(const std::string& function, const Value& arguments) const {
  StoredTensor tensor;
  tensor.storage = static_cast<uint32_t>(argument(arguments, 0, Kind::storage).integer);
  tensor.offset = argument(arguments, 1, Kind::integer).integer;
  tensor.sizes = integers(argument(arguments, 2, Kind::tuple));
  tensor.strides = integers(argument(arguments, 3, Kind::tuple));
  check(tensor.sizes.size() == tensor.strides.size() && tensor.sizes.size() <= 16,
        "{}: malformed pickle: a tensor with {} sizes and {} strides", where_, tensor.sizes.size(),
        tensor.strides.size());
  if (function == "torch._utils _rebuild_tensor_v3") {
    const Value& type = argument(arguments, 6, Kind::global);
    check(type.text.starts_with("torch "), "{}: malformed pickle: {} is no type of tensors", where_,
          type.text);
    tensor.dtype = type.text.substr(6);
  }
  document_.tensors.push_back(std::move(tensor));
  return {.kind = Kind::tensor, .integer = static_cast<int64_t>(document_.tensors.size() - 1)};
}

Value Globals::call(Id function, Id arguments_id) const {
  const Value& called = document_[function];
  const Value& arguments = document_[arguments_id];
  check(called.kind == Kind::global && arguments.kind == Kind::tuple,
        "{}: malformed pickle: a call of what is no function", where_);
  const std::string& name = called.text;
  if (name.starts_with("torch._utils _rebuild_tensor")) return rebuilt_tensor(name, arguments);
  if (name.starts_with("torch._utils _rebuild_parameter"))
    return argument(arguments, 0, Kind::tensor);
  if (name == "torch Size") return argument(arguments, 0, Kind::tuple);
  if (name == "torch device") return argument(arguments, 0, Kind::text);
  if (name == "_codecs encode") {
    Value bytes = argument(arguments, 0, Kind::text);
    bytes.kind = Kind::bytes;
    return bytes;
  }
  if (name == "argparse Namespace") return {.kind = Kind::dict};  // its attributes are dropped
  if (name == "collections OrderedDict")
    return arguments.items.empty() ? Value{.kind = Kind::dict}
                                   : pairs_to_dict(argument(arguments, 0, Kind::list));
  if (name.ends_with(" set") || name.ends_with(" frozenset")) {
    Value set{.kind = Kind::set};
    if (!arguments.items.empty()) set.items = argument(arguments, 0, Kind::list).items;
    return set;
  }
  fail("{}: malformed pickle: \"{}\" is called, which is no function", where_, name);
}

Value Globals::persistent(Id description) const {
  const Value& tuple = document_[description];
  check(tuple.kind == Kind::tuple, "{}: malformed pickle: a storage is described by a tuple",
        where_);
  const std::string& what = argument(tuple, 0, Kind::text).text;
  check(what != "module",
        "{}: a whole model was saved, with its program, not its weights; load it with PyTorch and "
        "save its tensors alone: torch.save(model.state_dict(), \"weights.pth\")",
        where_);
  check(what == "storage", "{}: malformed pickle: \"{}\" is kept outside of it", where_, what);
  StorageInfo storage;
  const std::string& type = argument(tuple, 1, Kind::global).text;
  storage.type = type.substr(type.find(' ') + 1);
  check(storage.type.ends_with("Storage"), "{}: malformed pickle: {} is no type of storages",
        where_, type);
  storage.key = argument(tuple, 2, Kind::text).text;
  argument(tuple, 3, Kind::text);  // the device it was on
  storage.elements = argument(tuple, 4, Kind::integer).integer;
  check(storage.elements >= 0, "{}: malformed pickle: a storage of {} numbers", where_,
        storage.elements);
  if (tuple.items.size() > 5 && document_[tuple.items[5]].kind == Kind::tuple) {
    const Value& view = document_[tuple.items[5]];
    storage.view_offset = argument(view, 1, Kind::integer).integer;
    check(storage.view_offset >= 0, "{}: malformed pickle: a storage's view begins at {}", where_,
          storage.view_offset);
  }
  document_.storages.push_back(std::move(storage));
  return {.kind = Kind::storage, .integer = static_cast<int64_t>(document_.storages.size() - 1)};
}

}  // namespace frcnn::pickle
