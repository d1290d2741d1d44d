#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace frcnn::apps {

/// How a process ended: with an exit code, or by a signal (then not 0).
struct ProcessEnd {
  int exit_code = 0;
  int signal = 0;
};

/// A file descriptor that is closed with its owner; below 0: none.
class Descriptor {
 public:
  explicit Descriptor(int file = -1) : file_(file) {}
  ~Descriptor() { reset(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return file_; }
  void reset(int file = -1);

 private:
  int file_;
};

/// File descriptors that a child gets as its standard streams; below 0: /dev/null.
struct ChildStreams {
  int in = -1, out = -1, error = -1;
};

/// A program that runs beside this one, in a process group of its own: the terminal's Ctrl-C
/// reaches this program alone, which decides what its children do. Dies with this program: the
/// system sends it SIGTERM then (Linux), however this program ended.
class ChildProcess {
 public:
  /// Starts `arguments[0]` with the other arguments; what it prints is appended to the file `log`,
  /// its standard input is empty. Throws Error when it cannot be started or the log not be opened.
  ChildProcess(const std::vector<std::string>& arguments, const std::filesystem::path& log);
  /// The same with the streams given, which the caller keeps and closes.
  ChildProcess(const std::vector<std::string>& arguments, const ChildStreams& streams);
  /// A child that still runs is killed.
  ~ChildProcess();
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  /// How it ended; nullopt while it runs. Never waits.
  std::optional<ProcessEnd> poll();
  /// The same, after waiting for it.
  ProcessEnd wait();
  /// Sends a signal to the child and its children.
  void send(int signal) const;
  pid_t pid() const { return pid_; }

 private:
  void start(const std::vector<std::string>& arguments, const ChildStreams& streams);
  pid_t pid_ = -1;
  std::optional<ProcessEnd> end_;
};

/// The file that `name` stands for on PATH, empty when there is none.
std::filesystem::path find_program(const std::string& name);

/// What starts the running program once more: the same file, even if another was put in its place
/// in the meantime.
inline constexpr const char* kOwnProgram = "/proc/self/exe";

/// An exclusive lock on an existing folder, which needs no file. It goes when its holder ends,
/// however that comes about. An `inherited` lock is held by all children as well, until the last of
/// them has ended. Where the file system has no locks, every attempt succeeds.
class FolderLock {
 public:
  FolderLock() = default;
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  /// False when another process holds it. Throws Error when the folder cannot be opened.
  bool acquire(const std::filesystem::path& folder, bool inherited);

 private:
  int file_ = -1;
};

}  // namespace frcnn::apps
