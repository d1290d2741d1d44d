#pragma once

#include <mutex>
#include <string>
#include <vector>

/// NVIDIA's libraries, loaded when they are first needed: a program that could use them starts and
/// works without them. Their headers are used at build time only, by the .cu files that call them
/// (kernels/launch/vendor.cuh); nothing links to them.
namespace frcnn::kernels::gpu {

/// A shared library that is opened at the first question about it. Threads may share it. It stays
/// open until the program ends.
class LazyLibrary {
 public:
  /// `title` is its name in messages; `files` are the names to look for, the preferred one first.
  LazyLibrary(std::string title, std::vector<std::string> files);
  LazyLibrary(const LazyLibrary&) = delete;
  LazyLibrary& operator=(const LazyLibrary&) = delete;

  /// Whether it could be opened; else `why`, unless nullptr, receives the reason. Never throws.
  bool available(std::string* why = nullptr);
  /// The address of a function. Throws Error when the library is not there or does not have it.
  void* symbol(const char* name);
  /// What was opened, as it was asked for: a path, or a name that the system found. Empty if none.
  const std::string& file();

 private:
  void open();

  const std::string title_;
  const std::vector<std::string> files_;
  std::once_flag once_;
  void* handle_ = nullptr;
  std::string file_, why_;
};

/// Folders that are searched, in order: those of the environment variable FRCNN_CUDA_LIBRARIES
/// (separated by colons), the program's own folder and ../lib beside it, the system's ("", which
/// stands for LD_LIBRARY_PATH and what ldconfig knows), lib64 of CUDA_HOME, CUDA_PATH and
/// /usr/local/cuda.
std::vector<std::string> vendor_folders();

enum class VendorLibrary : uint8_t { cublas, cublaslt, cudnn };
LazyLibrary& vendor_library(VendorLibrary library);

}  // namespace frcnn::kernels::gpu
