#include "kernels/launch/check.h"

#include <cstdio>
#include <cstdlib>

namespace frcnn {

void broken_invariant(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: internal error: `%s` does not hold; please report this\n", file,
               line, expression);
  std::abort();
}

}  // namespace frcnn
