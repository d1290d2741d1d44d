#include "weights/weight_file.h"

#include <limits>

#include "kernels/launch/check.h"

namespace frcnn {

const char* name_of(StoredType type) {
  constexpr const char* kNames[] = {"f64", "f32", "f16", "bf16", "i64",
                                    "i32", "i16", "i8",  "u8",   "bool"};
  return kNames[static_cast<size_t>(type)];
}

size_t size_of(StoredType type) {
  constexpr size_t kSizes[] = {8, 4, 2, 2, 8, 4, 2, 1, 1, 1};
  return kSizes[static_cast<size_t>(type)];
}

const WeightEntry* WeightFile::find(const std::string& name) const {
  const auto at = by_name_.find(name);
  return at == by_name_.end() ? nullptr : &entries_[at->second];
}

void WeightFile::add(WeightEntry entry) {
  int64_t elements = 1;
  for (const int64_t size : entry.shape.dims()) {
    check(size >= 0, "{}: array \"{}\" has the size {} in its shape {}", path_.string(), entry.name,
          size, entry.shape.string());
    check(size == 0 || elements <= std::numeric_limits<int64_t>::max() / 8 / size,
          "{}: array \"{}\" has the shape {}, more elements than any memory holds", path_.string(),
          entry.name, entry.shape.string());
    elements *= size;
  }
  check(by_name_.emplace(entry.name, entries_.size()).second, "{}: array \"{}\" is there twice",
        path_.string(), entry.name);
  entries_.push_back(std::move(entry));
}

Tensor WeightFile::read(const WeightEntry& entry) const {
  Tensor out = Tensor::empty(entry.shape);
  if (entry.shape.numel() > 0)
    read_rows(entry, 0, entry.shape.rank() == 0 ? 1 : entry.shape[0], out.data<float>());
  return out;
}

}  // namespace frcnn
