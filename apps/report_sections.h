#pragma once

#include <string>

#include "apps/run_folder.h"
#include "apps/training_log.h"
#include "model/config.h"

namespace frcnn::apps {

/// Sections of report.html about RUN/evaluation.json: COCO metric and intervals, precision-recall
/// curves, error shares, confusion matrix, calibration. Empty without the file; Error for a broken
/// one.
std::string evaluation_sections(const RunFolder& folder);

/// Section with the best and worst pictures of the same file and their boxes, which a click shows
/// and hides. Empty where there are none.
std::string picture_section(const RunFolder& folder);

/// Numbers about the run's data from dataset.json: splits, sizes, classes. A note where the file is
/// missing, as it is in runs of early versions.
std::string data_section(const RunFolder& folder);

/// Time, memory and environment from sessions.json, speed from the log; the same note.
std::string time_section(const RunFolder& folder, const LogTable& log);
std::string memory_section(const RunFolder& folder);
std::string environment_section(const RunFolder& folder);

/// Command lines that train the same again, go on, and use the model.
std::string command_section(const RunFolder& folder, const Config& config);

/// Script of the page, for picture_section().
extern const char* const kReportScript;

}  // namespace frcnn::apps
