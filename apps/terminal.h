#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace frcnn::apps {

/// True when stderr shows lines to a person, not to a file or pipe.
bool stderr_is_terminal();
/// "45 s", "3 min 20 s", "2 h 05 min".
std::string duration_text(double seconds);
/// "512 B", "1.4 MB".
std::string bytes_text(double bytes);
/// "4GiB", "500MB", "1024" as bytes. Throws UsageError for anything else.
size_t parse_bytes(const std::string& text);
/// Aligns `text` to `width` columns (UTF-8 letters count as one), on the right with negative width.
std::string padded(std::string_view text, int width);

/// Progress of a long loop on stderr: one line that is redrawn on a terminal, otherwise plain lines
/// now and then. The last state is always printed.
class Progress {
 public:
  /// `total` items, of which `start` were done before (a resumed run).
  Progress(std::string name, int64_t total, int64_t start = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `done` items are finished; `detail` follows ("loss 0.52  data 3 %"). Cheap: draws at most ten
  /// times a second on a terminal, elsewhere every 10 seconds, after 5 minutes less and less often
  /// (every 5 minutes at last), so that the file of a long run stays readable.
  void update(int64_t done, const std::string& detail);
  /// Prints a line of its own above the progress.
  void note(const std::string& line);
  /// Ends the line so that something else can be printed.
  void finish();
  /// Seconds since the start.
  double seconds() const;

 private:
  void draw(bool last);
  std::string name_;
  int64_t total_, start_, done_;
  bool terminal_;
  bool drawn_ = false, finished_ = false;
  std::string detail_;
  std::chrono::steady_clock::time_point begin_, last_draw_;
};

}  // namespace frcnn::apps
