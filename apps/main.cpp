#include "apps/commands.h"

int main(int argc, char** argv) {
  return frcnn::apps::run_program(argc, argv);
}
