#pragma once

#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace frcnn {

/// A caller's mistake or a bad input: the message names the operation, file or key, what was
/// expected and what was found. Programs print it as one line and exit with code 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A mistake on the command line or in a config: programs exit with code 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// Throws Error with a message formatted by fmt.
template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

/// Throws Error with the formatted message unless `condition` holds. Example:
///   check(x.rank() == 4, "[conv2d] expected a 4-d input, got {}", x.shape_string());
template <typename... Args>
void check(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) [[unlikely]]
    throw Error(fmt::format(format, std::forward<Args>(args)...));
}

/// A broken invariant of this program (never a caller's mistake): prints the place and aborts.
[[noreturn]] void broken_invariant(const char* expression, const char* file, int line);

}  // namespace frcnn

/// Aborts with file and line when an invariant of ours does not hold; also in release builds.
#define FRCNN_INVARIANT(expression) \
  ((expression) ? (void)0 : ::frcnn::broken_invariant(#expression, __FILE__, __LINE__))
