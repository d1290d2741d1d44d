#pragma once

#include <filesystem>

namespace frcnn::apps {

/// The checkpoint that an argument names: a file itself, or the newest of a run's folder. Throws
/// Error when there is none.
std::filesystem::path model_file(const std::filesystem::path& argument);

}  // namespace frcnn::apps
