// HDF5 files as the readers of weights see them: Keras of every layout and checkpoints of frcnn.
// What the HDF5 library does not survive happens in a child process (weights/apart.h) and must come
// out as an Error. tests/golden/keras*.h5 are good seeds.
#include "tests/fuzz/fuzz_file.h"
#include "weights/formats.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  frcnn::fuzz::read_file(data, size, frcnn::open_frcnn_checkpoint);
  return frcnn::fuzz::read_file(data, size, frcnn::open_keras_hdf5);
}
