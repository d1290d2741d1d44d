#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/support.h"
#include "weights/weight_file.h"

namespace frcnn::test {

/// A file of weights that exists in memory only. Element i of an array is `value(entry, i)`.
class FakeWeights : public WeightFile {
 public:
  using Value = float (*)(const WeightEntry& entry, int64_t index);
  FakeWeights(
      const std::string& format, WeightOrder order,
      const std::vector<std::pair<std::string, Shape>>& arrays,
      Value value = [](const WeightEntry&, int64_t i) { return static_cast<float>(i); })
      : WeightFile("fake", format, order), value_(value) {
    for (const auto& [name, shape] : arrays) add({name, StoredType::f32, shape});
  }
  void read_rows(const WeightEntry& entry, int64_t first, int64_t count,
                 float* out) const override {
    const int64_t row = entry.shape.rank() == 0 ? 1 : entry.shape.numel() / entry.shape[0];
    for (int64_t i = 0; i < count * row; ++i) out[i] = value_(entry, first * row + i);
  }
  void set_metadata(const std::string& key, const std::string& text) { metadata_[key] = text; }

 private:
  Value value_;
};

/// An array of a layer, for write_keras().
struct KerasArray {
  std::string layer, array;
  Shape shape;
  std::vector<float> values;
};

/// A file as Keras 2 writes it: weight_names "<layer>/<array>:0".
void write_keras(const std::filesystem::path& path, const std::vector<KerasArray>& arrays);

}  // namespace frcnn::test
