#include "apps/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

int terminal_width() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

}  // namespace

bool stderr_is_terminal() {
  return isatty(STDERR_FILENO) == 1;
}

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  const auto s = static_cast<int64_t>(std::llround(seconds));
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} h {:02} min", s / 3600, s / 60 % 60);
}

std::string bytes_text(double bytes) {
  if (bytes < 1e3) return fmt::format("{:.0f} B", bytes);
  if (bytes < 1e6) return fmt::format("{:.1f} kB", bytes / 1e3);
  if (bytes < 1e9) return fmt::format("{:.1f} MB", bytes / 1e6);
  return fmt::format("{:.2f} GB", bytes / 1e9);
}

size_t parse_bytes(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string unit(end, text.data() + text.size());
  if (!unit.empty() && unit.front() == ' ') unit.erase(0, 1);
  double factor = 0;
  if (unit.empty() || unit == "B") factor = 1;
  if (unit == "kB" || unit == "KB") factor = 1e3;
  if (unit == "MB" || unit == "M") factor = 1e6;
  if (unit == "GB" || unit == "G") factor = 1e9;
  if (unit == "KiB") factor = 1024;
  if (unit == "MiB") factor = 1024.0 * 1024;
  if (unit == "GiB") factor = 1024.0 * 1024 * 1024;
  if (error != std::errc() || factor == 0 || !(value > 0) || !(value * factor < 1e18))
    throw UsageError(fmt::format("expected a size like 4GiB or 500MB, found '{}'", text));
  return static_cast<size_t>(value * factor);
}

std::string padded(std::string_view text, int width) {
  int letters = 0;
  for (const char c : text) letters += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  const int fill = std::max(0, std::abs(width) - letters);
  const std::string spaces(static_cast<size_t>(fill), ' ');
  return width < 0 ? spaces + std::string(text) : std::string(text) + spaces;
}

Progress::Progress(std::string name, int64_t total, int64_t start)
    : name_(std::move(name)),
      total_(total),
      start_(start),
      done_(start),
      terminal_(stderr_is_terminal()),
      begin_(Clock::now()),
      last_draw_(begin_) {}

Progress::~Progress() {
  finish();
}

double Progress::seconds() const {
  return seconds_between(begin_, Clock::now());
}

void Progress::update(int64_t done, const std::string& detail) {
  done_ = done;
  detail_ = detail;
  const auto now = Clock::now();
  const double pause = terminal_ ? 0.1 : drawn_ ? std::clamp(seconds() / 30, 10.0, 300.0) : 2;
  if (seconds_between(last_draw_, now) < pause) return;
  last_draw_ = now;
  draw(false);
}

void Progress::note(const std::string& line) {
  std::fprintf(stderr, "%s%s\n", terminal_ ? "\r\x1b[K" : "", line.c_str());
  if (terminal_ && drawn_) draw(false);
}

void Progress::finish() {
  if (finished_) return;
  finished_ = true;
  if (done_ > start_) draw(true);
  std::fflush(stderr);
}

void Progress::draw(bool last) {
  drawn_ = true;
  const double spent = seconds();
  const double share = total_ > 0 ? static_cast<double>(done_) / static_cast<double>(total_) : 1;
  const double rate = spent > 0 ? static_cast<double>(done_ - start_) / spent : 0;
  const std::string time = last ? "in " + duration_text(spent)
                           : rate > 0
                               ? "ETA " + duration_text(static_cast<double>(total_ - done_) / rate)
                               : "";
  std::string line = fmt::format("{}/{}", done_, total_);
  if (!terminal_) {
    std::fprintf(stderr, "%s %s (%.0f %%)  %s  %s\n", name_.c_str(), line.c_str(), share * 100,
                 time.c_str(), detail_.c_str());
    return;
  }
  constexpr int kCells = 20;
  const int full = static_cast<int>(share * kCells);
  std::string bar;
  for (int i = 0; i < kCells; ++i) bar += i < full ? "━" : "╌";
  line = fmt::format("{} {} {} {:3.0f} %  {}  {}", name_, bar, line, share * 100, time, detail_);
  // Cut to the terminal's width: a wrapped line could not be redrawn. Bytes of one letter stay
  // together.
  const int width = terminal_width() - 1;
  size_t cut = 0;
  for (int letters = 0; cut < line.size(); ++cut) {
    letters += (static_cast<unsigned char>(line[cut]) & 0xC0) != 0x80;
    if (letters > width) break;
  }
  std::fprintf(stderr, "\r%s\x1b[K%s", line.substr(0, cut).c_str(), last ? "\n" : "");
  std::fflush(stderr);
}

}  // namespace frcnn::apps
