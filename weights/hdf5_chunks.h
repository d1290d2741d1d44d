#pragma once

#include <hdf5.h>

namespace frcnn {

/// True unless a chunked dataset lacks a chunk. HDF5 reads what is missing as zeros, and the index
/// of chunks (a B-tree of version 1) has no checksum: without this, one flipped bit of it would
/// empty an array in silence.
bool has_all_chunks(hid_t dataset);

}  // namespace frcnn
