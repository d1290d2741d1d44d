#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

/// Python's pickles, read as data. A pickle is a program for a stack machine whose instructions can
/// call any function of the Python installation that loads it; here there is none to call. Values
/// are built from a fixed list of types, and everything else is refused by name.
namespace frcnn::pickle {

/// Index of a value in Document::values. Values refer to each other by index, so that one that
/// contains itself does no harm.
using Id = uint32_t;

enum class Kind : uint8_t {
  none,
  boolean,      ///< integer is 0 or 1
  integer,      ///< fits int64
  big_integer,  ///< text holds its bytes, two's complement, little-endian
  real,
  text,     ///< str
  bytes,    ///< bytes and bytearray, in text
  list,     ///< items
  tuple,    ///< items; also torch.Size
  dict,     ///< items: key, value, key, value, ...; also OrderedDict
  set,      ///< items; also frozenset
  global,   ///< a name of the fixed list: text is "module name"
  storage,  ///< integer is an index in Document::storages
  tensor,   ///< integer is an index in Document::tensors
};

struct Value {
  Kind kind = Kind::none;
  int64_t integer = 0;
  double real = 0;
  std::string text = {};
  std::vector<Id> items = {};
};

/// Numbers of a tensor, which lie outside the pickle.
struct StorageInfo {
  std::string key;   ///< names the place where they lie
  std::string type;  ///< "FloatStorage"; "UntypedStorage" counts bytes
  int64_t elements = 0;
  int64_t view_offset = 0;  ///< elements: files before 0.4 may have storages that view others
};

struct StoredTensor {
  uint32_t storage = 0;  ///< index in Document::storages
  std::string dtype;     ///< "float32"; empty when the storage's type tells
  int64_t offset = 0;    ///< elements of the storage before the first of the tensor
  std::vector<int64_t> sizes, strides;
};

struct Document {
  std::vector<Value> values;
  std::vector<StorageInfo> storages;
  std::vector<StoredTensor> tensors;
  Id root = 0;
  uint64_t bytes = 0;  ///< length of the pickle, which may be followed by others

  const Value& operator[](Id id) const { return values[id]; }
  const Value& top() const { return values[root]; }
};

/// Gives the next bytes of a pickle, at most the given number; 0 at the end.
using Refill = std::function<size_t(char*, size_t)>;

/// Reads one pickle, of protocol 0 to 5. `where` begins the messages of Errors: cut short,
/// malformed, more values than `kMostValues`, or a global that is not on the list, which is named;
/// nothing is ever run.
Document parse(std::string_view pickle, const std::string& where);
Document parse(const Refill& refill, const std::string& where);

inline constexpr size_t kMostValues = size_t{1} << 20;

}  // namespace frcnn::pickle
