#pragma once

#include <optional>
#include <string>
#include <vector>

#include "data/doctor.h"
#include "data/doctor_fix.h"
#include "model/anchor_coverage.h"

namespace frcnn::apps {

/// How the anchors of a config fit the objects, and how those would that suit them best.
struct AnchorReport {
  std::string config;  ///< file or preset, "defaults"
  std::vector<double> sizes, ratios;
  std::string unit;
  AnchorCoverage coverage;
  AnchorCoverage advised;  ///< with coverage.advised_sizes and advised_ratios
};

struct DoctorReport {
  std::string data, split;
  Diagnosis diagnosis;
  std::optional<AnchorReport> anchors;  ///< none: no objects
  std::optional<Repairs> repairs;
  std::string fix;  ///< folder of the repaired copy
  double seconds = 0;
};

/// For people: findings grouped by code with the first places, class and size tables, anchors.
/// `most`: places of a code that are listed.
std::string doctor_text(const DoctorReport& report, size_t most);

/// For programs, described in docs/doctor.md. Ends in a newline.
std::string doctor_json(const DoctorReport& report);

}  // namespace frcnn::apps
