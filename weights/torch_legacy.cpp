#include <algorithm>
#include <map>
#include <memory>

#include "kernels/launch/check.h"
#include "weights/formats.h"
#include "weights/torch_file.h"

namespace frcnn {
namespace {

using pickle::Document;
using pickle::Kind;

/// torch.save() before PyTorch 1.6: five pickles (magic number, protocol version, facts of the
/// machine, the object, the keys of its storages), then for each key the count of its numbers as
/// int64 and the numbers, little-endian on every machine.
class TorchLegacy final : public TorchFile {
 public:
  explicit TorchLegacy(const std::filesystem::path& file)
      : TorchFile(file, "PyTorch (before 1.6)"), file_(file) {
    next_pickle();  // the magic number, by which the file was recognised
    const Document version = next_pickle();
    check(version.top().kind == Kind::integer && version.top().integer == 1001,
          "{}: not version 1001 of the format of torch.save()", file.string());
    next_pickle();
    const Document object = next_pickle();
    const Document keys = next_pickle();
    find_storages(object, keys);
    list(object, /*big_endian=*/false);
  }

 private:
  Document next_pickle() {
    uint64_t at = position_;
    Document document = pickle::parse(
        [&](char* out, size_t most) {
          const size_t part = std::min<uint64_t>(most, file_.size() - at);
          file_.read(at, out, part);
          at += part;
          return part;
        },
        path().string());
    position_ += document.bytes;
    return document;
  }

  void find_storages(const Document& object, const Document& keys) {
    std::map<std::string, const pickle::StorageInfo*> described;
    for (const pickle::StorageInfo& storage : object.storages) {
      const auto [at, is_new] = described.emplace(storage.key, &storage);
      check(
          is_new || (at->second->type == storage.type && at->second->elements == storage.elements),
          "{}: storage \"{}\" is described in two ways", path().string(), storage.key);
    }
    check(keys.top().kind == Kind::list, "{}: there is no list of storages", path().string());
    for (const pickle::Id id : keys.top().items) {
      const auto at = described.find(keys[id].text);
      check(keys[id].kind == Kind::text && at != described.end(),
            "{}: the list of storages names \"{}\", which no tensor uses", path().string(),
            keys[id].text);
      add_storage(*at->second);
    }
  }

  void add_storage(const pickle::StorageInfo& storage) {
    constexpr uint64_t kCount = 8;
    const uint64_t element = element_size(storage);
    uint64_t elements = 0;
    file_.read(position_, &elements, kCount);
    position_ += kCount;
    check(elements == static_cast<uint64_t>(storage.elements),
          "{}: storage \"{}\" has {} numbers, but should have {}", path().string(), storage.key,
          elements, storage.elements);
    check(elements <= (file_.size() - position_) / element,
          "{}: the file ends inside storage \"{}\" of {} numbers of {} bytes; it is cut short",
          path().string(), storage.key, elements, element);
    check(storages_.try_emplace(storage.key, file_, position_, elements * element).second,
          "{}: storage \"{}\" is listed twice", path().string(), storage.key);
    position_ += elements * element;
  }

  uint64_t element_size(const pickle::StorageInfo& storage) const {
    const std::string& type = storage.type;
    if (type == "DoubleStorage" || type == "LongStorage" || type == "ComplexFloatStorage") return 8;
    if (type == "FloatStorage" || type == "IntStorage" || type == "QInt32Storage") return 4;
    if (type == "HalfStorage" || type == "BFloat16Storage" || type == "ShortStorage") return 2;
    if (type == "ComplexDoubleStorage") return 16;
    return 1;
  }

  const ByteSource& source_of(const pickle::StorageInfo& storage,
                              size_t /*element_size*/) override {
    const auto at = storages_.find(storage.key);
    check(at != storages_.end(), "{}: the numbers of storage \"{}\" are missing", path().string(),
          storage.key);
    return at->second;
  }

  RawFile file_;
  uint64_t position_ = 0;
  std::map<std::string, SourcePart> storages_;
};

}  // namespace

std::unique_ptr<WeightFile> open_torch_legacy(const std::filesystem::path& file) {
  return std::make_unique<TorchLegacy>(file);
}

}  // namespace frcnn
