// Checkpoints of this program as a WeightFile: parameters, or their moving averages where the file
// has them, and buffers; the state of the optimiser is left out.
#include "kernels/launch/check.h"
#include "weights/checkpoint.h"
#include "weights/checkpoint_format.h"
#include "weights/formats.h"
#include "weights/hdf5_reader.h"

namespace frcnn {
namespace {

namespace fs = std::filesystem;

class CheckpointFile final : public WeightFile {
 public:
  explicit CheckpointFile(const fs::path& path)
      : WeightFile(path, "frcnn checkpoint", WeightOrder::torch), file_(path) {
    if (file_.text("", "format").value_or("") != checkpoint_format::kMagic)
      file_.refuse("an HDF5 file, but not a checkpoint of frcnn");
    for (const char* group : {"parameters", "buffers"}) {
      if (!file_.exists(group)) continue;
      for (const std::string& name : file_.members(group))
        add(file_.describe(place_of(group, name), name));
    }
    if (entries().empty()) file_.refuse("the checkpoint has no parameters");
    metadata_["format"] = "frcnn";
    if (file_.exists(checkpoint_format::kNetwork)) metadata_["network"] = network();
    metadata_["program_version"] = file_.text("", "program_version").value_or("");
    metadata_["config"] = file_.text("", "config").value_or("");
    std::string classes;
    for (const std::string& name : file_.texts("", "classes"))
      classes += (classes.empty() ? "" : "\n") + name;
    metadata_["classes"] = classes;
  }

  void read_rows(const WeightEntry& entry, int64_t first, int64_t count,
                 float* out) const override {
    const int64_t rows = entry.shape.rank() == 0 ? 1 : entry.shape[0];
    check(first >= 0 && count >= 0 && first <= rows && count <= rows - first,
          "{}: rows {} to {} of \"{}\", which has {}", path().string(), first, first + count,
          entry.name, rows);
    if (entry.type == StoredType::i8)
      file_.refuse(
          "\"{}\" is an 8-bit weight for inference (`frcnn quantize`), which cannot be trained or "
          "converted; take the model that it was made from",
          entry.name);
    if (count > 0) file_.read_rows(entry.path, entry.shape, first, count, out);
  }

 private:
  std::string place_of(const std::string& group, const std::string& name) const {
    const std::string average = fmt::format("averages/{}", name);
    if (group == "parameters" && file_.exists("averages") && file_.exists(average)) return average;
    return fmt::format("{}/{}", group, name);
  }
  /// The definition of an imported backbone: text as bytes.
  std::string network() const {
    const WeightEntry entry = file_.describe(checkpoint_format::kNetwork, "network");
    if (entry.type != StoredType::u8 || entry.shape.rank() != 1)
      file_.refuse("{} is not text", checkpoint_format::kNetwork);
    std::vector<float> bytes(static_cast<size_t>(entry.shape[0]));
    if (!bytes.empty()) file_.read_rows(entry.path, entry.shape, 0, entry.shape[0], bytes.data());
    return {bytes.begin(), bytes.end()};
  }

  Hdf5Reader file_;
};

}  // namespace

bool is_frcnn_checkpoint(const fs::path& file) {
  const Hdf5Reader reader(file);
  return reader.has_attribute("", "format") &&
         reader.text("", "format").value_or("") == checkpoint_format::kMagic;
}

std::unique_ptr<WeightFile> open_frcnn_checkpoint(const fs::path& file) {
  return std::make_unique<CheckpointFile>(file);
}

}  // namespace frcnn
