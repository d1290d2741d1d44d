#pragma once

#include <string>
#include <vector>

#include "apps/ops/registry.h"

namespace frcnn::apps::ops {

/// How far the results of one version on one device are from another device's.
struct Comparison {
  std::string version;  ///< "" when there is one way only
  std::string type;     ///< of the worst case
  int64_t cases = 0;    ///< that the version could run
  double worst = 0;     ///< largest difference as a multiple of its tolerance: above 1 is a failure
  double error = 0;     ///< that difference relative to the magnitude
  std::string where;    ///< output, index and both values of it
  std::string failure;  ///< what went wrong in the first case beyond tolerance, with its seed
  std::string reason;   ///< of the tolerance
};

/// Compares results with those of the CPU ("expected"), output by output. Numbers that are not
/// compared by tolerance must be equal; NaN equals NaN. Throws Error where extents differ.
Comparison compare_results(const Operation& op, const Choice& choice, const std::string& type,
                           const Arrays& actual, const Arrays& expected, const Arrays& magnitudes);

/// Magnitudes of all results: see Operation::magnitudes.
Arrays magnitudes_of(const Operation& op, const Case& given, const Arrays& expected);

/// Runs random cases from `seed` on until every version of `device` (or the one that is named) has
/// had `cases` that it can run, but not more than ten times as many seeds. The types of
/// Operation::types take turns; under emulation so do the schedules of threads.
std::vector<Comparison> compare_devices(const Operation& op, Device expected, Device device,
                                        const std::string& version, int64_t cases, uint64_t seed);

}  // namespace frcnn::apps::ops
