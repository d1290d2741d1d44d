// The unpickler alone: without a zip file around it, whose checksums stop most mutations.
#include "kernels/launch/check.h"
#include "weights/pickle.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    frcnn::pickle::parse({reinterpret_cast<const char*>(data), size}, "fuzz");
  } catch (const frcnn::Error&) {
    return 0;
  }
  return 0;
}
