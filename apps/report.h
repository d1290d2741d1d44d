#pragma once

#include <string>

#include "apps/run_folder.h"

namespace frcnn::apps {

/// The report of a run from what lies in its folder (config.toml, log.csv, metrics.json,
/// dataset.json, sessions.json, evaluation.json, examples/; files that an early version did not
/// write may be missing): one page without links to anything else. Throws Error when the folder
/// holds no run.
std::string report_html(const RunFolder& folder);

/// Writes it to report.html in the folder.
void write_report(const RunFolder& folder);

/// Writes the losses over the steps of a run as a drawing of its own. Throws Error when the run has
/// no log yet.
void write_loss_curve(const RunFolder& folder, const std::filesystem::path& file);

/// Base64 of bytes, for embedded pictures.
std::string base64(const std::vector<uint8_t>& bytes);

}  // namespace frcnn::apps
