#pragma once

#include <string>

namespace frcnn::apps {

/// "0.1.0".
std::string program_version();
/// What `frcnn --version` prints: versions of program and libraries, build, CPU, threads.
std::string version_text();

}  // namespace frcnn::apps
