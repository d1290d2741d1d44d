#include "weights/torch_file.h"

#include <algorithm>
#include <limits>
#include <string_view>

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

using pickle::Document;
using pickle::Id;
using pickle::Kind;

constexpr size_t kMostEntries = size_t{1} << 17;
constexpr size_t kMostVisits = size_t{1} << 21;
constexpr size_t kLongestName = 4096;
constexpr size_t kDeepest = 64;
constexpr size_t kMostMetadata = 1000;
constexpr size_t kLongestMetadata = 4096;

struct TypeName {
  std::string_view storage, dtype;
  StoredType type;
};
constexpr TypeName kTypes[] = {{"DoubleStorage", "float64", StoredType::f64},
                               {"FloatStorage", "float32", StoredType::f32},
                               {"HalfStorage", "float16", StoredType::f16},
                               {"BFloat16Storage", "bfloat16", StoredType::bf16},
                               {"LongStorage", "int64", StoredType::i64},
                               {"IntStorage", "int32", StoredType::i32},
                               {"ShortStorage", "int16", StoredType::i16},
                               {"CharStorage", "int8", StoredType::i8},
                               {"ByteStorage", "uint8", StoredType::u8},
                               {"BoolStorage", "bool", StoredType::boolean}};

StoredType type_of(const pickle::StoredTensor& tensor, const pickle::StorageInfo& storage,
                   const std::string& where) {
  for (const TypeName& known : kTypes)
    if (tensor.dtype.empty() ? known.storage == storage.type : known.dtype == tensor.dtype)
      return known.type;
  fail(
      "{}: its numbers are of type {}; known are float64, float32, float16, bfloat16, int64, "
      "int32, int16, int8, uint8 and bool",
      where, tensor.dtype.empty() ? storage.type : tensor.dtype);
}

/// Walks a document's dictionaries and lists.
class Flattener {
 public:
  struct Named {
    std::string name;
    const pickle::StoredTensor* tensor;
  };
  std::vector<Named> tensors;
  std::map<std::string, std::string> metadata;

  Flattener(const Document& document, const std::string& where)
      : document_(document), where_(where) {}

  /// Without recursion: a file decides how deep its dictionaries are.
  void walk(Id root, const std::string& root_name, bool keep_tensors);

 private:
  struct Level {
    Id id;
    size_t next = 0;   ///< index of the item to visit
    size_t name_size;  ///< of the container's own name
    bool in_list;
  };

  void leaf(const pickle::Value& value, const std::string& name, bool in_list, bool keep_tensors);
  std::string key_text(const pickle::Value& key) const;
  void enter(std::vector<Level>& levels, Id id, size_t name_size, bool in_list) const;

  const Document& document_;
  const std::string& where_;
  size_t visits_ = 0;
};

std::string Flattener::key_text(const pickle::Value& key) const {
  switch (key.kind) {
    case Kind::text:
      return key.text;
    case Kind::integer:
      return std::to_string(key.integer);
    case Kind::boolean:
      return key.integer ? "True" : "False";
    case Kind::none:
      return "None";
    default:
      return "?";
  }
}

void Flattener::leaf(const pickle::Value& value, const std::string& name, bool in_list,
                     bool keep_tensors) {
  if (value.kind == Kind::tensor) {
    if (!keep_tensors) return;
    check(tensors.size() < kMostEntries, "{}: more than {} tensors", where_, kMostEntries);
    tensors.push_back({name, &document_.tensors[static_cast<size_t>(value.integer)]});
    return;
  }
  // The parameters' numbers that an optimiser keeps in lists tell nobody anything.
  if (in_list || metadata.size() >= kMostMetadata) return;
  if (value.kind == Kind::text)
    metadata.emplace(name, value.text.substr(0, kLongestMetadata));
  else if (value.kind == Kind::integer)
    metadata.emplace(name, std::to_string(value.integer));
  else if (value.kind == Kind::real)
    metadata.emplace(name, fmt::format("{}", value.real));
  else if (value.kind == Kind::boolean)
    metadata.emplace(name, value.integer ? "true" : "false");
}

void Flattener::enter(std::vector<Level>& levels, Id id, size_t name_size, bool in_list) const {
  const bool inside_itself =
      std::any_of(levels.begin(), levels.end(), [&](const Level& level) { return level.id == id; });
  check(!inside_itself, "{}: a list or dictionary of its pickle contains itself", where_);
  check(levels.size() < kDeepest, "{}: dictionaries and lists lie more than {} deep", where_,
        kDeepest);
  levels.push_back({id, 0, name_size, in_list});
}

void Flattener::walk(Id root, const std::string& root_name, bool keep_tensors) {
  std::string name = root_name;
  const auto container = [&](Id id) {
    const Kind kind = document_[id].kind;
    return kind == Kind::dict || kind == Kind::list || kind == Kind::tuple;
  };
  if (!container(root)) return leaf(document_[root], name, false, keep_tensors);
  std::vector<Level> levels;
  enter(levels, root, name.size(), false);
  while (!levels.empty()) {
    Level& level = levels.back();
    const pickle::Value& value = document_[level.id];
    const bool dict = value.kind == Kind::dict;
    name.resize(level.name_size);
    if (level.next >= value.items.size()) {
      levels.pop_back();
      continue;
    }
    check(++visits_ <= kMostVisits, "{}: its dictionaries and lists have more than {} items",
          where_, kMostVisits);
    const std::string key =
        dict ? key_text(document_[value.items[level.next]]) : std::to_string(level.next);
    const Id item = value.items[dict ? level.next + 1 : level.next];
    level.next += dict ? 2 : 1;
    const bool in_list = level.in_list || !dict;
    if (!name.empty()) name += '.';
    name += key;
    check(name.size() <= kLongestName, "{}: the name of a tensor has more than {} bytes", where_,
          kLongestName);
    if (container(item))
      enter(levels, item, name.size(), in_list);
    else
      leaf(document_[item], name, in_list, keep_tensors);
  }
}

/// Whether a tensor is somewhere in a value. `search` is one for all such questions, so that its
/// limits hold for all together.
bool has_tensors(Flattener& search, Id id) {
  const size_t before = search.tensors.size();
  search.walk(id, "", true);
  return search.tensors.size() > before;
}

/// Index in the outermost dictionary's items of the key whose value holds the weights; -1 when the
/// whole document does.
ptrdiff_t weights_key(const Document& document, const std::string& where) {
  if (document.top().kind != Kind::dict) return -1;
  const std::vector<Id>& items = document.top().items;
  Flattener search(document, where);
  for (const std::string_view wanted :
       {"state_dict", "model_state_dict", "model", "net", "weights"})
    for (size_t i = 0; i < items.size(); i += 2)
      if (document[items[i]].kind == Kind::text && document[items[i]].text == wanted &&
          document[items[i + 1]].kind == Kind::dict && has_tensors(search, items[i + 1]))
        return static_cast<ptrdiff_t>(i);
  return -1;
}

Flattener flatten(const Document& document, const std::string& where) {
  Flattener all(document, where);
  const ptrdiff_t chosen = weights_key(document, where);
  if (chosen < 0) {
    all.walk(document.root, document.top().kind == Kind::tensor ? "tensor" : "", true);
    return all;
  }
  const std::vector<Id>& items = document.top().items;
  std::string left_out;
  Flattener search(document, where);
  for (size_t i = 0; i < items.size(); i += 2) {
    if (static_cast<ptrdiff_t>(i) == chosen) {
      all.walk(items[i + 1], "", true);
      all.metadata["weights_from"] = document[items[i]].text;
    } else {
      const std::string key = document[items[i]].kind == Kind::text ? document[items[i]].text : "?";
      all.walk(items[i + 1], key, false);
      if (has_tensors(search, items[i + 1]))
        left_out += (left_out.empty() ? "" : ", ") + key.substr(0, kLongestMetadata);
      check(left_out.size() <= 1 << 20, "{}: too many tensors beside the weights", where);
    }
  }
  if (!left_out.empty()) all.metadata["left_out"] = left_out;
  return all;
}

}  // namespace

void TorchFile::list(const pickle::Document& document, bool big_endian) {
  const std::string file = path().string();
  Flattener contents = flatten(document, file);
  metadata_.merge(contents.metadata);
  check(!contents.tensors.empty(), "{}: there is no tensor in it", file);
  for (const Flattener::Named& named : contents.tensors) {
    const std::string where = fmt::format("{}: tensor \"{}\"", file, named.name);
    const pickle::StorageInfo& storage = document.storages[named.tensor->storage];
    StoredArray array;
    array.type = type_of(*named.tensor, storage, where);
    array.shape = Shape(named.tensor->sizes);
    array.strides = named.tensor->strides;
    array.swapped = big_endian;
    const size_t element = size_of(array.type);
    const ByteSource& source = source_of(storage, storage.type == "UntypedStorage" ? 1 : element);
    constexpr int64_t kFarthest = std::numeric_limits<int64_t>::max() / 32;
    check(named.tensor->offset >= 0 && named.tensor->offset < kFarthest &&
              storage.view_offset < kFarthest,
          "{}: begins at number {} of its storage", where, named.tensor->offset);
    array.begin = static_cast<uint64_t>(named.tensor->offset + storage.view_offset) * element;
    add_array(named.name, std::move(array), source);
  }
}

}  // namespace frcnn
