#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace frcnn {

/// The names of `available` that make up `split`: the name itself; "train" also finds "train2017"
/// when it is the only one with digits behind; "val", "valid" and "validation" stand for each
/// other; "trainval" is train and val where it has no name of its own; "all" is every one. Throws
/// Error that begins with `where` and lists what there is.
std::vector<std::string> resolve_split(const std::vector<std::string>& available,
                                       const std::string& split, const std::string& where);

/// Joins data sets. Classes are united by name: those of the first set, then new ones of the
/// others in their order; category ids stay where every set that has a class gives it the same.
/// Pictures of the same file are an Error; equal picture ids of different files get "-2", "-3", ...
/// by the set they come from, numbers are dropped when two pictures have the same.
Dataset join_datasets(std::vector<Dataset> sets, const std::string& name);

}  // namespace frcnn
