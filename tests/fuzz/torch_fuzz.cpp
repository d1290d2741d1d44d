// Files of torch.save(), zip and legacy: whichever the first bytes say.
#include "tests/fuzz/fuzz_file.h"
#include "weights/formats.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return frcnn::fuzz::read_file(data, size, [&](const std::filesystem::path& file) {
    return size > 0 && data[0] == 'P' ? frcnn::open_torch_zip(file)
                                      : frcnn::open_torch_legacy(file);
  });
}
