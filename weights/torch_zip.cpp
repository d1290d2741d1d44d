#include <map>
#include <memory>

#include "kernels/launch/check.h"
#include "weights/formats.h"
#include "weights/torch_file.h"
#include "weights/zip_source.h"

namespace frcnn {
namespace {

/// torch.save() since PyTorch 1.6. The archive has one folder, of any name, with
///   data.pkl    the pickled object
///   data/<key>  the numbers of each storage, not packed, in the order of bytes of ...
///   byteorder   "little" or "big"; little where it is absent (before PyTorch 2.1)
class TorchZip final : public TorchFile {
 public:
  explicit TorchZip(const std::filesystem::path& file)
      : TorchFile(file, "PyTorch (zip)"), archive_(file) {
    const std::string pickle_name = pickle_entry();
    prefix_ = pickle_name.substr(0, pickle_name.size() - std::string("data.pkl").size());
    check(archive_.find(prefix_ + "constants.pkl") < 0,
          "{}: a TorchScript program, not weights; load it with torch.jit.load() and save its "
          "tensors alone: torch.save(model.state_dict(), \"weights.pth\")",
          file.string());
    const std::string pickle = small_entry(pickle_name, kMostPickle);
    std::string order = "little";
    if (archive_.find(prefix_ + "byteorder") >= 0) order = small_entry(prefix_ + "byteorder", 64);
    check(order == "little" || order == "big",
          "{}: entry \"{}byteorder\" is neither \"little\" nor \"big\"", file.string(), prefix_);
    list(pickle::parse(pickle, file.string()), order == "big");
  }

 private:
  static constexpr uint64_t kMostPickle = uint64_t{256} << 20;

  std::string pickle_entry() const {
    for (const ZipArchive::Entry& entry : archive_.entries())
      if (entry.name == "data.pkl" || entry.name.ends_with("/data.pkl")) return entry.name;
    fail("{}: there is no data.pkl in the archive", path().string());
  }

  std::string small_entry(const std::string& name, uint64_t most) const {
    const int64_t index = archive_.find(name);
    const uint64_t size = archive_.entries()[static_cast<size_t>(index)].size;
    check(size <= most, "{}: entry \"{}\" has {} bytes; at most {} are read", path().string(), name,
          size, most);
    return archive_.read(index);
  }

  const ByteSource& source_of(const pickle::StorageInfo& storage, size_t element_size) override {
    std::unique_ptr<ZipSource>& source = sources_[storage.key];
    if (!source) {
      const int64_t index = archive_.find(prefix_ + "data/" + storage.key);
      check(index >= 0, "{}: the numbers of a tensor are missing: there is no entry \"{}data/{}\"",
            path().string(), prefix_, storage.key);
      source = std::make_unique<ZipSource>(archive_, index);
    }
    check(source->size() / element_size == static_cast<uint64_t>(storage.elements),
          "{}: entry \"{}data/{}\" has {} bytes, but should hold {} numbers of {} bytes",
          path().string(), prefix_, storage.key, source->size(), storage.elements, element_size);
    return *source;
  }

  ZipArchive archive_;
  std::string prefix_;
  std::map<std::string, std::unique_ptr<ZipSource>> sources_;
};

}  // namespace

std::unique_ptr<WeightFile> open_torch_zip(const std::filesystem::path& file) {
  return std::make_unique<TorchZip>(file);
}

}  // namespace frcnn
