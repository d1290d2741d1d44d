#pragma once

#include <filesystem>

#include "apps/ops/registry.h"

namespace frcnn::apps::ops {

/// A case as an HDF5 file: every array a dataset of its name, every parameter an attribute of the
/// root, and the attribute `operation`. What any program with an HDF5 library can write: numbers of
/// any width and byte order, strings of fixed or variable length.
///
/// Reads the arrays and parameters of `op`. Throws Error that names the file and the dataset or
/// attribute that is missing, unknown or of the wrong kind.
Case read_case(const std::filesystem::path& file, const Operation& op);

/// Writes arrays and parameters under a temporary name in the same folder, then renames: the same
/// content gives the same bytes. Throws Error naming file and reason.
void write_case(const std::filesystem::path& file, const Operation& op, const Case& content);

/// A parameter from the text of `--set name=value`. Throws UsageError.
std::pair<std::string, Value> parse_setting(const Operation& op, const std::string& setting);

}  // namespace frcnn::apps::ops
