#include "tests/fuzz/fuzz_file.h"
#include "weights/formats.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return frcnn::fuzz::read_file(data, size, frcnn::open_safetensors);
}
