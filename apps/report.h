#pragma once

#include <string>

#include "apps/run_folder.h"

namespace frcnn::apps {

/// Writes report.html of a run from what lies in its folder (config.toml, log.csv, metrics.json,
/// examples/): one file without links to anything else. Throws Error when the folder holds no run.
void write_report(const RunFolder& folder);

/// Base64 of bytes, for embedded pictures.
std::string base64(const std::vector<uint8_t>& bytes);

}  // namespace frcnn::apps
