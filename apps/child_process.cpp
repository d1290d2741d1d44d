#include "apps/child_process.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <utility>

#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

/// What the child does between fork and exec: calls that are safe there only. Ends with the
/// failed call's errno in `report`, a pipe that a successful exec closes.
[[noreturn]] void become(char* const* arguments, const ChildStreams& streams, int report,
                         pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(127);  // it ended before the line above
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int nothing = open("/dev/null", O_RDWR);
  const auto give = [&](int file, int as) { return dup2(file < 0 ? nothing : file, as) >= 0; };
  if (nothing >= 0 && give(streams.in, STDIN_FILENO) && give(streams.out, STDOUT_FILENO) &&
      give(streams.error, STDERR_FILENO))
    execv(arguments[0], arguments);
  const int reason = errno;
  [[maybe_unused]] const ssize_t written = write(report, &reason, sizeof(reason));
  _exit(127);
}

ProcessEnd end_of(int status) {
  return WIFSIGNALED(status) ? ProcessEnd{0, WTERMSIG(status)} : ProcessEnd{WEXITSTATUS(status), 0};
}

}  // namespace

void Descriptor::reset(int file) {
  if (file_ >= 0) close(file_);
  file_ = file;
}

ChildProcess::ChildProcess(const std::vector<std::string>& arguments,
                           const std::filesystem::path& log) {
  const Descriptor file(open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  check(file.get() >= 0, "{}: cannot be written: {}", log.string(), std::strerror(errno));
  start(arguments, {-1, file.get(), file.get()});
}

ChildProcess::ChildProcess(const std::vector<std::string>& arguments, const ChildStreams& streams) {
  start(arguments, streams);
}

void ChildProcess::start(const std::vector<std::string>& arguments, const ChildStreams& streams) {
  std::vector<char*> pointers;
  for (const std::string& argument : arguments)
    pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  int report[2];
  check(pipe2(report, O_CLOEXEC) == 0, "{}: cannot be started: {}", arguments.at(0),
        std::strerror(errno));
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) become(pointers.data(), streams, report[1], parent);
  int reason = pid_ < 0 ? errno : 0;
  close(report[1]);
  if (pid_ > 0) {
    setpgid(pid_, pid_);  // both sides do it: whoever comes first
    if (read(report[0], &reason, sizeof(reason)) == static_cast<ssize_t>(sizeof(reason))) {
      waitpid(pid_, nullptr, 0);
      pid_ = -1;
    }
  }
  close(report[0]);
  check(reason == 0, "{}: cannot be started: {}", arguments.at(0), std::strerror(reason));
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), end_(other.end_) {}

ChildProcess::~ChildProcess() {
  if (pid_ <= 0 || end_) return;
  send(SIGKILL);
  waitpid(pid_, nullptr, 0);
}

std::optional<ProcessEnd> ChildProcess::poll() {
  int status = 0;
  if (!end_ && waitpid(pid_, &status, WNOHANG) == pid_) end_ = end_of(status);
  return end_;
}

ProcessEnd ChildProcess::wait() {
  int status = 0;
  while (!end_) {
    if (waitpid(pid_, &status, 0) == pid_)
      end_ = end_of(status);
    else
      check(errno == EINTR, "process {}: cannot be waited for: {}", pid_, std::strerror(errno));
  }
  return *end_;
}

std::filesystem::path find_program(const std::string& name) {
  const char* const path = std::getenv("PATH");
  std::stringstream folders(path ? path : "/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::filesystem::path file = std::filesystem::path(folder) / name;
    if (access(file.c_str(), X_OK) == 0 && !std::filesystem::is_directory(file)) return file;
  }
  return {};
}

void ChildProcess::send(int signal) const {
  if (pid_ > 0 && !end_) kill(-pid_, signal);
}

bool FolderLock::acquire(const std::filesystem::path& folder, bool inherited) {
  if (file_ < 0) file_ = open(folder.c_str(), O_RDONLY | O_DIRECTORY | (inherited ? 0 : O_CLOEXEC));
  check(file_ >= 0, "{}: cannot be opened: {}", folder.string(), std::strerror(errno));
  return flock(file_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
}

FolderLock::~FolderLock() {
  if (file_ >= 0) close(file_);
}

}  // namespace frcnn::apps
