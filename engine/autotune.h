#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/autotune_file.h"

namespace frcnn {

/// Choosing the fastest of several ways to do the same work by measuring them, once for each shape,
/// and remembering the outcome on disk. docs/kernels/tuning.md tells what is measured and when.

/// One way to do a piece of work.
struct TuningCandidate {
  std::string name;   ///< "mma_tf32 large": what the file remembers
  size_t memory = 0;  ///< bytes that it needs beside inputs and outputs
};

/// What is to be done. Work of one family differs in its size only.
struct TuningKey {
  std::string family;  ///< "conv2d forward f32 64>128 3x3 ..."
  std::string size;    ///< "1x600x1000"
  double amount = 0;   ///< proportional to the work of this size
  std::string text() const { return family + " @ " + size; }
};

/// The choices of one device. Thread-safe; files may be shared by processes.
class Autotuner {
 public:
  struct Settings {
    /// false: nothing is measured. What a file remembers counts nevertheless.
    bool measure = true;
    /// Choices of all runs on this machine; empty: they are not kept.
    std::filesystem::path file;
    /// What choices depend on beside the key. A file of another device, driver or program is not
    /// used, and written anew.
    std::string device, program;
    /// Candidates that need more beside inputs and outputs do not compete, the first excepted.
    size_t memory_limit = size_t{512} << 20;
    /// Gets told what was wrong with a file or a candidate, a line each.
    std::function<void(const std::string&)> warn;
  };
  /// Reads the file, if there is one.
  explicit Autotuner(Settings settings);

  /// Seconds of one candidate. Throws Error where it cannot be done.
  using Measure = std::function<double(const TuningCandidate&)>;

  /// Index of the candidate to take. `candidates` are at least one; the first is the choice where
  /// nothing is measured, and stays unless another is at least 3 % faster. measure() is called for
  /// each, if nothing is remembered for the key: neither its own choice nor that of work of its
  /// family whose amount differs by at most a quarter.
  size_t choose(const TuningKey& key, const std::vector<TuningCandidate>& candidates,
                const Measure& measure);
  /// What choose() would take without measuring.
  size_t expected(const TuningKey& key, const std::vector<TuningCandidate>& candidates) const;

  /// From here on every choice is written to `file` before it is first used, and with `resume`
  /// what the file says already holds, whatever has been measured elsewhere: the run that began
  /// with these choices goes on with them, and with its way of coming to new ones. Throws Error
  /// when the file cannot be read or written.
  void keep_run(const std::filesystem::path& file, bool resume);

 private:
  std::optional<size_t> remembered(const TuningKey& key,
                                   const std::vector<TuningCandidate>& candidates) const;
  std::optional<TuningEntry> of_neighbour(const TuningKey& key,
                                          const std::vector<TuningCandidate>& candidates) const;
  TuningEntry measured(const std::vector<TuningCandidate>& candidates,
                       const Measure& measure) const;
  size_t keep(const TuningKey& key, const std::vector<TuningCandidate>& candidates,
              const TuningEntry& entry, bool on_machine);
  void keep_for_run(const std::string& key, const TuningEntry& entry);
  void warn(const std::string& text) const;

  Settings settings_;
  mutable std::mutex mutex_;
  TuningEntries entries_;      // of the machine
  TuningEntries run_entries_;  // of the run: they count first
  std::filesystem::path run_file_;
};

/// A clock that measures what is done between its two calls: on a GPU the device's own.
struct TuningClock {
  std::function<void()> start;
  std::function<double()> stop;  ///< seconds
};
/// Seconds of one run: the first, which may load code, is not counted; then the median of five
/// samples, each of as many runs as take a tenth of a millisecond (20 at most). A candidate whose
/// second run takes more than `give_up` seconds is not run again.
double measured_seconds(const TuningClock& clock, const std::function<void()>& run, double give_up);

}  // namespace frcnn
