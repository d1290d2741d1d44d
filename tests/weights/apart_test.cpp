#include "weights/apart.h"

#include <csignal>
#include <cstdio>
#include <stdexcept>

#include "kernels/launch/check.h"
#include "tests/support/catch.h"

namespace frcnn {
namespace {

TEST_CASE("a trial in a child process: errors are survived, crashes and endless loops are not") {
  int here = 1;
  CHECK(survives_apart([&] { here = 2; }, 5));
  CHECK(here == 1);  // the child has its own memory
  CHECK(survives_apart([] { fail("refused"); }, 5));
  CHECK(survives_apart([] { throw std::runtime_error("any"); }, 5));
  CHECK(!survives_apart([] { std::raise(SIGSEGV); }, 5));
  CHECK(!survives_apart([] { std::raise(SIGABRT); }, 5));
  CHECK(!survives_apart(
      [] {
        volatile bool running = true;
        while (running) {
        }
      },
      1));
}

TEST_CASE("a trial in a child process prints nothing") {
  CHECK(survives_apart([] { std::fputs("must not be seen\n", stderr); }, 5));
}

}  // namespace
}  // namespace frcnn
