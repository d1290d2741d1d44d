#include "apps/child_process.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

/// What the child does between fork and exec: calls that are safe there only. Ends with the
/// failed call's errno in `report`, a pipe that a successful exec closes.
[[noreturn]] void become(char* const* arguments, int log, int report, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(127);  // it ended before the line above
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int nothing = open("/dev/null", O_RDONLY);
  if (nothing >= 0 && dup2(nothing, STDIN_FILENO) >= 0 && dup2(log, STDOUT_FILENO) >= 0 &&
      dup2(log, STDERR_FILENO) >= 0)
    execv(arguments[0], arguments);
  const int reason = errno;
  [[maybe_unused]] const ssize_t written = write(report, &reason, sizeof(reason));
  _exit(127);
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& arguments,
                           const std::filesystem::path& log) {
  std::vector<char*> pointers;
  for (const std::string& argument : arguments)
    pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  const int file = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  check(file >= 0, "{}: cannot be written: {}", log.string(), std::strerror(errno));
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) {
    const int reason = errno;
    close(file);
    fail("{}: cannot be started: {}", arguments.at(0), std::strerror(reason));
  }
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) become(pointers.data(), file, report[1], parent);
  int reason = pid_ < 0 ? errno : 0;
  close(file);
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
  if (!end_ && waitpid(pid_, &status, WNOHANG) == pid_)
    end_ =
        WIFSIGNALED(status) ? ProcessEnd{0, WTERMSIG(status)} : ProcessEnd{WEXITSTATUS(status), 0};
  return end_;
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
