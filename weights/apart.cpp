#include "weights/apart.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

/// The child: quiet, without the parent's handlers (which would report a crash as the parent's),
/// without a core file, with an end to its time.
void settle(unsigned cpu_seconds) {
  for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGXCPU, SIGALRM, SIGTERM})
    std::signal(number, SIG_DFL);
  const rlimit none{0, 0}, time{cpu_seconds, cpu_seconds};
  setrlimit(RLIMIT_CORE, &none);
  setrlimit(RLIMIT_CPU, &time);
  alarm(10 * cpu_seconds);  // also where it waits for something
  const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (null < 0) return;
  dup2(null, STDOUT_FILENO);
  dup2(null, STDERR_FILENO);
}

}  // namespace

bool survives_apart(const std::function<void()>& work, unsigned cpu_seconds) {
  const pid_t child = fork();
  check(child >= 0, "cannot start a child process: {}", std::strerror(errno));
  if (child == 0) {
    settle(cpu_seconds);
    try {
      work();
    } catch (...) {  // NOLINT(bugprone-empty-catch): the parent will meet the same error itself
    }
    _exit(0);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    check(errno == EINTR, "cannot wait for a child process: {}", std::strerror(errno));
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace frcnn
