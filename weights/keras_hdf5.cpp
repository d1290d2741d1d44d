#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "kernels/launch/check.h"
#include "weights/formats.h"
#include "weights/hdf5_reader.h"
#include "weights/keras_names.h"
#include "weights/zip_archive.h"

// The layouts of Keras:
//   1, 2   group of a layer per name in the attribute "layer_names", in it a dataset per name in
//          "weight_names"; whole models (model.save) have all that in the group "model_weights"
//   3      "layers/<layer>/vars/<number>", layers within layers as deep as the model is; `.keras`
//          is a zip archive of that file and config.json
namespace frcnn {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int kDeepest = 24;
constexpr uint64_t kMostConfig = uint64_t{256} << 20;

/// A list of text that may be spread over attributes name0, name1, ...: an object header of HDF5
/// holds 64 KiB, and nets with many layers have more names than that.
std::vector<std::string> name_list(const Hdf5Reader& file, const std::string& group,
                                   const std::string& name) {
  if (file.has_attribute(group, name)) return file.texts(group, name);
  if (!file.has_attribute(group, name + "0"))
    file.refuse("group \"/{}\" has no attribute \"{}\", so it is not a file of Keras", group, name);
  std::vector<std::string> all;
  for (int i = 0; file.has_attribute(group, fmt::format("{}{}", name, i)); ++i) {
    const auto part = file.texts(group, fmt::format("{}{}", name, i));
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

std::string joined(const std::string& group, const std::string& member) {
  return group.empty() ? member : group + "/" + member;
}

/// Layer names of Keras 3 where the file has only those of classes ("conv2d_1"): config.json of a
/// .keras archive lists the layers in the order in which they were numbered.
class LayerNames {
 public:
  LayerNames() = default;
  explicit LayerNames(const Json& config) { collect(config, 0); }

  /// The n-th layer of a class is called <class in snake case>, then with _1, _2, ...
  std::string find(const std::string& stored) const {
    const auto at = names_.find(stored);
    return at == names_.end() ? stored : at->second;
  }

 private:
  static std::string snake_case(const std::string& name) {
    std::string out;
    for (size_t i = 0; i < name.size(); ++i) {
      const bool upper = name[i] >= 'A' && name[i] <= 'Z';
      const bool begins = upper && i > 0 &&
                          ((name[i - 1] >= 'a' && name[i - 1] <= 'z') ||
                           (i + 1 < name.size() && name[i + 1] >= 'a' && name[i + 1] <= 'z'));
      if (begins && out.back() != '_') out += '_';
      out += upper ? static_cast<char>(name[i] - 'A' + 'a') : name[i];
    }
    return out;
  }

  void collect(const Json& model, int depth) {
    if (depth > kDeepest || !model.is_object() || !model.contains("config")) return;
    const Json& config = model["config"];
    if (!config.is_object() || !config.contains("layers") || !config["layers"].is_array()) return;
    std::map<std::string, int> counts;
    for (const Json& layer : config["layers"]) {
      if (!layer.is_object() || !layer.contains("class_name") || !layer.contains("config")) return;
      if (!layer["class_name"].is_string() || !layer["config"].is_object()) return;
      const std::string kind = snake_case(layer["class_name"].get<std::string>());
      const int count = counts[kind]++;
      const auto name = layer["config"].find("name");
      if (name != layer["config"].end() && name->is_string())
        names_.emplace(count == 0 ? kind : fmt::format("{}_{}", kind, count),
                       name->get<std::string>());
    }
  }

  std::map<std::string, std::string> names_;
};

class KerasFile final : public WeightFile {
 public:
  KerasFile(const fs::path& path, const std::string& format, Hdf5Reader file,
            const LayerNames& names)
      : WeightFile(path, format, WeightOrder::keras), file_(std::move(file)) {
    const std::string group = file_.exists("model_weights") ? "model_weights" : "";
    if (file_.has_attribute(group, "layer_names") || file_.has_attribute(group, "layer_names0")) {
      list_layers(group);
    } else if (file_.exists("layers") || file_.exists("_layer_checkpoint_dependencies")) {
      names_ = &names;
      std::set<uint64_t> above;
      list_keras3("", "", above, 0);
      names_ = nullptr;
    } else {
      file_.refuse(
          "an HDF5 file, but neither of Keras (no attribute \"layer_names\", no group \"layers\") "
          "nor a checkpoint of frcnn (no attribute \"format\")");
    }
    for (const char* key : {"keras_version", "backend"})
      for (const std::string& place : {group, std::string()})
        if (const auto text = file_.text(place, key)) metadata_[key] = *text;
    if (entries().empty()) file_.refuse("holds no arrays");
  }

  void read_rows(const WeightEntry& entry, int64_t first, int64_t count,
                 float* out) const override {
    const int64_t rows = entry.shape.rank() == 0 ? 1 : entry.shape[0];
    check(first >= 0 && count >= 0 && first <= rows && count <= rows - first,
          "{}: rows {} to {} of \"{}\", which has {}", path().string(), first, first + count,
          entry.name, rows);
    if (count > 0) file_.read_rows(entry.path, entry.shape, first, count, out);
  }

  bool random_access(const WeightEntry& entry) const override {
    return file_.is_plain(entry.path, entry.shape);
  }

 private:
  /// Two spellings may become one name; then the file's own stands.
  void keep(WeightEntry entry) {
    if (find(entry.name)) entry.name = entry.path;
    add(std::move(entry));
  }

  void list_layers(const std::string& root) {
    for (const std::string& layer : name_list(file_, root, "layer_names")) {
      const std::string group = joined(root, layer);
      if (layer.empty() || !file_.exists(group))
        file_.refuse("the layer \"{}\" is in the list of names, but not in the file", layer);
      for (const std::string& array : name_list(file_, group, "weight_names")) {
        if (array.empty()) file_.refuse("an array of the layer \"{}\" has no name", layer);
        keep(file_.describe(joined(group, array), keras_entry_name(layer, array)));
      }
    }
  }

  /// `above` holds the groups on the way down: a link back to one of them is a cycle.
  void list_keras3(const std::string& group, const std::string& layer, std::set<uint64_t>& above,
                   int depth) {
    if (depth > kDeepest) file_.refuse("\"{}\": more than {} layers in layers", group, kDeepest);
    const uint64_t self = file_.identity(group);
    if (!above.insert(self).second)
      file_.refuse("\"{}\" is linked into itself, so it has no end", group);
    for (const std::string& member : file_.members(group)) {
      const std::string path = joined(group, member);
      // What training leaves behind is no weight.
      if (group.empty() && (member == "optimizer" || member == "metrics")) continue;
      if (!file_.is_group(path)) continue;
      if (member == "vars") {
        list_vars(path, layer);
      } else {
        const bool container = member == "layers" || member == "_layer_checkpoint_dependencies";
        list_keras3(path, container ? layer : joined(layer, name_of_layer(path, member)), above,
                    depth + 1);
      }
    }
    above.erase(self);
  }

  /// Keras since 3.7 writes the layer's name beside its variables.
  std::string name_of_layer(const std::string& group, const std::string& member) const {
    const std::string vars = group + "/vars";
    if (file_.exists(vars))
      if (const auto text = file_.text(vars, "name"); text && !text->empty()) return *text;
    return names_->find(member);
  }

  void list_vars(const std::string& group, const std::string& layer) {
    std::vector<WeightEntry> arrays;
    std::vector<Shape> shapes;
    for (const std::string& member : file_.members(group)) {
      arrays.push_back(file_.describe(joined(group, member), member));
      shapes.push_back(arrays.back().shape);
    }
    const std::vector<std::string> names = keras3_array_names(shapes);
    for (size_t i = 0; i < arrays.size(); ++i) {
      arrays[i].name = joined(layer, names[i]);
      keep(std::move(arrays[i]));
    }
  }

  Hdf5Reader file_;
  const LayerNames* names_ = nullptr;  // while the constructor runs
};

/// A text of an archive that is no more than what such a text may need.
Json json_entry(const ZipArchive& archive, const std::string& name, const fs::path& file) {
  const int64_t index = archive.find(name);
  if (index < 0) return {};
  check(archive.entries()[static_cast<size_t>(index)].size <= kMostConfig,
        "{}: {} is larger than any description of a model", file.string(), name);
  const std::string text = archive.read(index);
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

}  // namespace

std::unique_ptr<WeightFile> open_keras_hdf5(const fs::path& file) {
  return std::make_unique<KerasFile>(file, "Keras HDF5", Hdf5Reader(file), LayerNames());
}

std::unique_ptr<WeightFile> open_keras_zip(const fs::path& file) {
  const ZipArchive archive(file);
  const int64_t index = archive.find("model.weights.h5");
  check(index >= 0, "{}: a zip archive without model.weights.h5, so not of Keras", file.string());
  const LayerNames names(json_entry(archive, "config.json", file));
  return std::make_unique<KerasFile>(
      file, "Keras archive (zip)",
      Hdf5Reader(archive.read(index), file.string() + "/model.weights.h5"), names);
}

}  // namespace frcnn
