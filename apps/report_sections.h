#pragma once

#include <string>

#include "apps/run_folder.h"

namespace frcnn::apps {

/// Sections of report.html about RUN/evaluation.json: COCO metric and intervals, precision-recall
/// curves, error shares, confusion matrix, calibration. Empty without the file; Error for a broken
/// one.
std::string evaluation_sections(const RunFolder& folder);

/// Section with the best and worst pictures of the same file and their boxes, which a click shows
/// and hides. Empty where there are none.
std::string picture_section(const RunFolder& folder);

/// Script of the page, for picture_section().
extern const char* const kReportScript;

}  // namespace frcnn::apps
