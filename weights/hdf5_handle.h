#pragma once

#include <hdf5.h>

#include <utility>

namespace frcnn {

/// Owns an HDF5 object of any kind and closes it. A negative id is "none".
class Hdf5Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Hdf5Handle() = default;
  Hdf5Handle(hid_t id, Close close) : id_(id), close_(close) {}
  ~Hdf5Handle() { reset(); }
  Hdf5Handle(Hdf5Handle&& other) noexcept
      : id_(std::exchange(other.id_, hid_t{-1})), close_(other.close_) {}
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept {
    if (this != &other) {
      reset();
      id_ = std::exchange(other.id_, hid_t{-1});
      close_ = other.close_;
    }
    return *this;
  }

  hid_t get() const { return id_; }
  explicit operator bool() const { return id_ >= 0; }
  /// Closes now; false when HDF5 could not (say, because the disk is full).
  bool reset() {
    const hid_t id = std::exchange(id_, hid_t{-1});
    return id < 0 || close_(id) >= 0;
  }

 private:
  hid_t id_ = -1;
  Close close_ = nullptr;
};

/// Keeps HDF5 from printing its error stack; call before anything that may fail.
inline void silence_hdf5() {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

/// True unless a chunked dataset lacks a chunk. HDF5 reads what is missing as zeros, and the index
/// of chunks (a B-tree of version 1) has no checksum: without this, one flipped bit of it would
/// empty an array in silence.
bool has_all_chunks(hid_t dataset);

}  // namespace frcnn
