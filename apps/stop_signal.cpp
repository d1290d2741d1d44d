#include "apps/stop_signal.h"

#include <csignal>

namespace frcnn::apps {
namespace {

volatile std::sig_atomic_t caught = 0;

void on_signal(int number) {
  caught = number;
  std::signal(number, SIG_DFL);
}

}  // namespace

void catch_stop_signals() {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
}

bool stop_requested() {
  return caught != 0;
}

int stop_exit_code() {
  return 128 + caught;
}

}  // namespace frcnn::apps
