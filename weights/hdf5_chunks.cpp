#include <vector>

#include "weights/hdf5_handle.h"

namespace frcnn {

bool has_all_chunks(hid_t dataset) {
  const Hdf5Handle made(H5Dget_create_plist(dataset), H5Pclose);
  if (H5Pget_layout(made.get()) != H5D_CHUNKED) return true;
  const Hdf5Handle space(H5Dget_space(dataset), H5Sclose);
  const int rank = H5Sget_simple_extent_ndims(space.get());
  if (rank <= 0) return rank == 0;
  std::vector<hsize_t> dims(static_cast<size_t>(rank)), chunk(dims.size()), at(dims.size(), 0);
  if (H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr) != rank ||
      H5Pget_chunk(made.get(), rank, chunk.data()) != rank)
    return false;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 0) return true;
    if (chunk[i] == 0) return false;
  }
  for (;;) {
    hsize_t bytes = 0;
    if (H5Dget_chunk_storage_size(dataset, at.data(), &bytes) < 0 || bytes == 0) return false;
    // The next chunk, the last dimension first.
    size_t i = dims.size();
    while (i > 0) {
      at[i - 1] += chunk[i - 1];
      if (at[i - 1] < dims[i - 1]) break;
      at[i - 1] = 0;
      --i;
    }
    if (i == 0) return true;
  }
}

}  // namespace frcnn
