#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "apps/commands.h"

namespace {

/// OpenMP's waiting threads spin for milliseconds before they sleep. That is of no use to a program
/// that has the cores for itself, and takes half of them from it where others compete
/// (docs/benchmarks/README.md, "Waiting threads"). The library reads the number of turns before
/// main() begins, so the program starts itself again with it, unless the user has said how to wait.
void spin_briefly(char** arguments) {
  if (std::getenv("OMP_WAIT_POLICY") || std::getenv("GOMP_SPINCOUNT")) return;
  setenv("GOMP_SPINCOUNT", "10000", 0);
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  // Started as an argument of the dynamic loader, that is what the link names.
  if (error || program.filename().string().starts_with("ld-")) return;
  execv(program.c_str(), arguments);  // where that fails the program goes on as it is
}

}  // namespace

int main(int argc, char** argv) {
  spin_briefly(argv);
  return frcnn::apps::run_program(argc, argv);
}
