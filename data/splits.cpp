#include "data/splits.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

bool is_val(const std::string& name) {
  return name == "val" || name == "valid" || name == "validation";
}

/// The one name that `split` means; empty: none, or several would do.
std::string one_name(const std::vector<std::string>& available, const std::string& split) {
  std::vector<std::string> near;
  for (const std::string& name : available) {
    if (name == split) return name;
    const bool year = name.size() > split.size() && name.starts_with(split) &&
                      name.find_first_not_of("0123456789", split.size()) == std::string::npos;
    if (year || (is_val(split) && is_val(name))) near.push_back(name);
  }
  return near.size() == 1 ? near.front() : "";
}

/// Joins what sets know about COCO's category ids.
class CategoryIds {
 public:
  void add(const Dataset& set) {
    if (set.category_ids.empty()) unknown_ = true;
    for (size_t i = 0; i < set.category_ids.size(); ++i) {
      const auto [entry, added] = ids_.try_emplace(set.class_names[i], set.category_ids[i]);
      if (!added && entry->second != set.category_ids[i]) unknown_ = true;
    }
  }
  std::vector<int64_t> of(const std::vector<std::string>& names) const {
    std::vector<int64_t> ids;
    std::set<int64_t> unique;
    for (const std::string& name : names) {
      const auto found = ids_.find(name);
      if (unknown_ || found == ids_.end() || !unique.insert(found->second).second) return {};
      ids.push_back(found->second);
    }
    return ids;
  }

 private:
  std::map<std::string, int64_t> ids_;
  bool unknown_ = false;
};

void make_ids_distinct(std::vector<ImageRecord>& images, const std::vector<size_t>& set_of) {
  std::set<std::string> ids;
  std::set<int64_t> numbers;
  bool numbers_distinct = true;
  for (const ImageRecord& image : images) {
    ids.insert(image.id);
    numbers_distinct = numbers_distinct && numbers.insert(image.number).second;
  }
  std::set<std::string> used;
  for (size_t i = 0; i < images.size(); ++i) {
    ImageRecord& image = images[i];
    if (!numbers_distinct) image.number = -1;
    if (used.insert(image.id).second) continue;
    for (size_t k = set_of[i] + 1;; ++k) {
      std::string id = fmt::format("{}-{}", image.id, k);
      if (ids.count(id) != 0 || !used.insert(id).second) continue;
      image.id = std::move(id);
      break;
    }
  }
}

}  // namespace

std::vector<std::string> resolve_split(const std::vector<std::string>& available,
                                       const std::string& split, const std::string& where) {
  const std::string one = one_name(available, split);
  if (!one.empty()) return {one};
  if (split == "all" && !available.empty()) return available;
  if (split == "trainval") {
    const std::string train = one_name(available, "train"), val = one_name(available, "val");
    if (!train.empty() && !val.empty()) return {train, val};
  }
  fail("{}: split '{}' does not exist; this set has {}{}", where, split, fmt::join(available, ", "),
       available.empty() ? "none" : ", all");
}

Dataset join_datasets(std::vector<Dataset> sets, const std::string& name) {
  check(!sets.empty(), "[join_datasets] expected data sets, got none");
  if (sets.size() == 1) return std::move(sets.front());
  Dataset joined;
  joined.name = name;
  joined.root = sets.front().root;
  std::map<std::string, int> labels;
  std::set<std::filesystem::path> files;
  std::vector<size_t> set_of;
  CategoryIds ids;
  for (size_t s = 0; s < sets.size(); ++s) {
    Dataset& set = sets[s];
    ids.add(set);
    std::vector<int> label_of;
    for (const std::string& class_name : set.class_names) {
      const auto [entry, added] =
          labels.try_emplace(class_name, static_cast<int>(joined.class_names.size()));
      if (added) joined.class_names.push_back(class_name);
      label_of.push_back(entry->second);
    }
    for (ImageRecord& image : set.images) {
      for (Object& object : image.objects)
        object.label = label_of.at(static_cast<size_t>(object.label));
      check(image.path.empty() || files.insert(image.path.lexically_normal()).second,
            "{}: picture {} is in two of the sets that were to be joined", name,
            image.path.string());
      joined.images.push_back(std::move(image));
      set_of.push_back(s);
    }
    joined.findings.insert(joined.findings.end(), std::make_move_iterator(set.findings.begin()),
                           std::make_move_iterator(set.findings.end()));
    set = Dataset();
  }
  joined.category_ids = ids.of(joined.class_names);
  make_ids_distinct(joined.images, set_of);
  return joined;
}

}  // namespace frcnn
