#pragma once

#include <string>

#include "apps/ops/registry.h"

namespace frcnn::apps::ops {

/// How much there is: an operation without a ladder has one version.
struct Counts {
  int operations = 0;
  int on_gpu = 0;    ///< operations
  int versions = 0;  ///< of operations on a GPU
  int emulated = 0;  ///< of the versions: run under emulation
};
Counts count_operations();

/// Names, with what each operation does, for a terminal.
std::string listing_text();
/// Everything that is known of one operation, for a terminal.
std::string description_text(const Operation& op);
/// All operations with arrays, parameters, versions: one line of JSON. Tells also which devices
/// this program has, here.
std::string listing_json();
/// The tables of docs/kernels/README.md: the same for every build.
std::string listing_markdown();

}  // namespace frcnn::apps::ops
