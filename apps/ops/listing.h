#pragma once

#include <string>

#include "apps/ops/registry.h"

namespace frcnn::apps::ops {

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
