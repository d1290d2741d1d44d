#pragma once

#include <functional>

namespace frcnn {

/// Runs `work` in a child process (fork) that may use at most `cpu_seconds` of processor time, and
/// waits for it. True when `work` came back or threw; false when it crashed or ran out of time.
/// Nothing it does to this process's memory is seen here, and what it prints is lost. `work` must
/// not start threads or use a GPU.
///
/// It is a trial for libraries that are not safe against damaged input: what they survive there,
/// they survive here as well, as they do the same work again.
bool survives_apart(const std::function<void()>& work, unsigned cpu_seconds);

}  // namespace frcnn
