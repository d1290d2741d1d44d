#pragma once

#include <map>
#include <string>

#include "apps/ops/registry.h"

namespace frcnn::apps::ops {

/// Letters of extents and what they stand for.
using Letters = std::map<std::string, int64_t>;

/// Value of one side of a documented extent, "4*K + 4"; throws Error where a letter is not known.
int64_t side_value(const std::string& side, const Letters& letters);

/// Checks `extent` against the documented one, "(N, C, 4)". A side that is one unknown letter gives
/// it its value. Throws Error that begins with `what` when the two do not agree.
void match_extent(const std::string& what, const std::string& documented, const Extent& extent,
                  Letters& letters);

/// The given arrays and parameters of an operation against its documentation: names, types,
/// extents. Returns the letters; the integer parameters are among them.
Letters check_case(const Operation& op, const Case& given);

}  // namespace frcnn::apps::ops
