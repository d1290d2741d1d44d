// HDF5 files as the readers of weights see them: Keras of every layout and checkpoints of frcnn.
// What the HDF5 library does not survive happens in a child process (weights/apart.h) and must come
// out as an Error. tests/golden/keras*.h5 are good seeds.
#include <unistd.h>

#include <fstream>

#include "tests/fuzz/fuzz_file.h"
#include "weights/formats.h"

namespace {

/// HDF5 resolves links, so a file in memory (/proc/self/fd/5) has no path that it could open.
const std::filesystem::path& scratch_file() {
  static const std::filesystem::path path = [] {
    const std::filesystem::path memory = "/dev/shm";
    const auto folder =
        std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path();
    return folder / fmt::format("frcnn_keras_fuzz_{}.h5", getpid());
  }();
  return path;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::ofstream(scratch_file(), std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  for (const auto open : {frcnn::open_frcnn_checkpoint, frcnn::open_keras_hdf5}) {
    try {
      const std::unique_ptr<frcnn::WeightFile> weights = open(scratch_file());
      for (const frcnn::WeightEntry& entry : weights->entries())
        if (entry.shape.numel() < int64_t{1} << 20) weights->read(entry);
    } catch (const frcnn::Error&) {  // what is expected of a damaged file
      continue;
    }
  }
  std::filesystem::remove(scratch_file());
  return 0;
}
