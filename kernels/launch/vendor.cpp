#include "kernels/launch/vendor.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdlib>
#include <filesystem>

#include "kernels/launch/check.h"

namespace frcnn::kernels::gpu {
namespace {

const char* const kVariable = "FRCNN_CUDA_LIBRARIES";

std::string environment(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nothing sets it
  return value == nullptr ? "" : value;
}

/// The folder of the running program, or "".
std::filesystem::path program_folder() {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::filesystem::path() : program.parent_path();
}

std::string folder_names() {
  std::vector<std::string> names;
  for (const std::string& folder : vendor_folders())
    names.push_back(folder.empty() ? "the system's library folders" : folder);
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

std::vector<std::string> vendor_folders() {
  std::vector<std::string> folders;
  const std::string list = environment(kVariable);
  for (size_t begin = 0; begin < list.size();) {
    const size_t end = std::min(list.find(':', begin), list.size());
    if (end > begin) folders.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  if (const auto folder = program_folder(); !folder.empty()) {
    folders.push_back(folder.string());
    folders.push_back((folder.parent_path() / "lib").string());
  }
  folders.emplace_back();
  for (const char* toolkit : {"CUDA_HOME", "CUDA_PATH"})
    if (const std::string root = environment(toolkit); !root.empty())
      folders.push_back(root + "/lib64");
  folders.emplace_back("/usr/local/cuda/lib64");
  return folders;
}

LazyLibrary::LazyLibrary(std::string title, std::vector<std::string> files)
    : title_(std::move(title)), files_(std::move(files)) {}

void LazyLibrary::open() {
  std::string broken;  // a file that is there and cannot be opened
  for (const std::string& folder : vendor_folders())
    for (const std::string& name : files_) {
      const std::string file = (std::filesystem::path(folder) / name).string();
      std::error_code ignored;
      if (!folder.empty() && !std::filesystem::exists(file, ignored)) continue;
      handle_ = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (handle_ != nullptr) {
        file_ = file;
        return;
      }
      if (!folder.empty() && broken.empty()) broken = dlerror();
    }
  if (!broken.empty()) {
    why_ = fmt::format("{} cannot be loaded: {}", title_, broken);
  } else {
    why_ = fmt::format("{} was not found: no {} in {}. Install it, or name its folder in {}",
                       title_, fmt::join(files_, " or "), folder_names(), kVariable);
  }
}

bool LazyLibrary::available(std::string* why) {
  std::call_once(once_, [this] { open(); });
  if (handle_ == nullptr && why != nullptr) *why = why_;
  return handle_ != nullptr;
}

void* LazyLibrary::symbol(const char* name) {
  std::string why;
  check(available(&why), "[cuda] {}", why);
  void* address = dlsym(handle_, name);
  check(address != nullptr, "[cuda] {} ({}) has no function {}: its version does not fit", title_,
        file_, name);
  return address;
}

const std::string& LazyLibrary::file() {
  available();
  return file_;
}

LazyLibrary& vendor_library(VendorLibrary library) {
  // The newest first; the major version is part of a library's binary interface.
  static LazyLibrary cublaslt("cuBLASLt", {"libcublasLt.so.13", "libcublasLt.so.12"});
  static LazyLibrary cublas("cuBLAS", {"libcublas.so.13", "libcublas.so.12"});
  static LazyLibrary cudnn("cuDNN", {"libcudnn.so.9"});
  if (library == VendorLibrary::cublaslt) return cublaslt;
  if (library == VendorLibrary::cudnn) return cudnn;
  cublaslt.available();  // cuBLAS needs it, and finds the one that is loaded
  return cublas;
}

}  // namespace frcnn::kernels::gpu
