#pragma once

#include <string>
#include <utility>
#include <vector>

namespace frcnn::apps {

/// "0.1.0".
std::string program_version();
/// The first 12 digits of the commit of the sources, with "+" where they were changed since; empty
/// where it is not known. Defined in a file that scripts/cmake/Commit.cmake writes at each build.
const char* source_commit();
/// What `frcnn --version` prints: versions of program and libraries, build, CPU, threads.
std::string version_text();

/// What a run's results and times depend on, as keys and texts in the order of a report: "program",
/// "commit" (12 digits, "+" where the sources were changed since), "build", "compiler",
/// "libraries", "device" (that of this run of the program), "cpu", "instructions", "threads",
/// "cores", "memory", "system". Empty texts are left out.
std::vector<std::pair<std::string, std::string>> environment();

}  // namespace frcnn::apps
