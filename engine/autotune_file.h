#pragma once

#include <filesystem>
#include <map>
#include <string>

namespace frcnn {

/// What is remembered of one piece of work.
struct TuningEntry {
  std::string version;  ///< name of the candidate that is taken
  double amount = 0;    ///< TuningKey::amount
  /// Seconds of all that were measured, by name; less than 0: could not be done.
  std::map<std::string, double> seconds;
  std::string like;  ///< key of the work whose choice it took without measuring; else empty
  bool operator==(const TuningEntry&) const = default;
};
using TuningEntries = std::map<std::string, TuningEntry>;  // by key

/// A file of choices, JSON.
struct TuningFile {
  std::string device, program;  ///< what it was measured with
  bool measure = true;          ///< of a run: whether new shapes are measured
  TuningEntries entries;
};

/// Throws Error, naming the file, when it cannot be read, is no such file, or is damaged.
TuningFile read_tuning(const std::filesystem::path& file);

/// Writes under another name in the same folder, which is made where it is missing, then renames.
/// Throws Error naming the file.
void write_tuning(const std::filesystem::path& file, const TuningFile& content);

/// Adds entries to a file that other processes may be adding to: entries that it has by now stay,
/// unless something new competed; those of a file that is damaged or of another device or program
/// are dropped. Throws Error.
void add_to_tuning(const std::filesystem::path& file, const TuningFile& content);

}  // namespace frcnn
