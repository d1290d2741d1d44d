#include "kernels/launch/vendor.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>

#include "kernels/launch/blas.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;
using gpu::LazyLibrary;

namespace {
/// FRCNN_CUDA_LIBRARIES while the object lives.
class Variable {
 public:
  explicit Variable(const std::string& value) {
    const char* before = std::getenv(kName);
    if (before != nullptr) before_ = before;
    setenv(kName, value.c_str(), 1);
  }
  ~Variable() {
    if (before_.empty()) {
      unsetenv(kName);
    } else {
      setenv(kName, before_.c_str(), 1);
    }
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  static constexpr const char* kName = "FRCNN_CUDA_LIBRARIES";
  std::string before_;
};
}  // namespace

TEST_CASE("vendor libraries: one that is there is opened at the first question") {
  LazyLibrary math("the C library's mathematics", {"libfrcnn_absent.so.7", "libm.so.6"});
  std::string why = "unset";
  REQUIRE(math.available(&why));
  CHECK(why == "unset");
  CHECK(math.file() == "libm.so.6");
  const auto cosine = reinterpret_cast<double (*)(double)>(math.symbol("cos"));
  CHECK(cosine(1.0) == std::cos(1.0));
  CHECK_THROWS_WITH(math.symbol("frcnn_no_such_function"),
                    mentions("[cuda] the C library's mathematics (libm.so.6) has no function "
                             "frcnn_no_such_function"));
}

TEST_CASE("vendor libraries: absence has a clear reason, and is not fatal") {
  const TempDir folder;
  const Variable variable("/frcnn/first::" + folder.path().string());
  LazyLibrary absent("Absent", {"libfrcnn_absent.so.8", "libfrcnn_absent.so.7"});
  std::string why;
  CHECK_FALSE(absent.available(&why));
  CHECK_THAT(why,
             mentions("Absent was not found: no libfrcnn_absent.so.8 or libfrcnn_absent.so.7"));
  CHECK_THAT(why, mentions("/frcnn/first, " + folder.path().string() + ", "));
  CHECK_THAT(why, mentions("the system's library folders"));
  CHECK_THAT(why, mentions("name its folder in FRCNN_CUDA_LIBRARIES"));
  CHECK(absent.file().empty());
  CHECK_FALSE(absent.available());
  CHECK_THROWS_WITH(absent.symbol("anything"), mentions("[cuda] Absent was not found"));
}

TEST_CASE("vendor libraries: a file that is no library is named with the loader's reason") {
  const TempDir folder;
  std::ofstream(folder.path() / "libfrcnn_broken.so.1") << "no library";
  const Variable variable(folder.path().string());
  LazyLibrary broken("Broken", {"libfrcnn_broken.so.1"});
  std::string why;
  CHECK_FALSE(broken.available(&why));
  CHECK_THAT(why, mentions("Broken cannot be loaded: "));
  CHECK_THAT(why, mentions("libfrcnn_broken.so.1"));
}

TEST_CASE("vendor libraries: a folder of FRCNN_CUDA_LIBRARIES comes before the system's") {
  const TempDir folder;
  LazyLibrary any("C", {"libm.so.6"});
  REQUIRE(any.available());
  // Whichever file the system has under that name, under another name.
  std::filesystem::path found;
  for (const char* root : {"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64",
                           "/usr/lib64", "/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu"})
    if (std::filesystem::exists(std::filesystem::path(root) / "libm.so.6"))
      found = std::filesystem::path(root) / "libm.so.6";
  if (found.empty()) return;
  std::filesystem::create_symlink(found, folder.path() / "libm.so.6");
  const Variable variable(folder.path().string());
  LazyLibrary own("C", {"libm.so.6"});
  CHECK(own.file() == (folder.path() / "libm.so.6").string());
}

TEST_CASE("vendor libraries: NVIDIA's answer without a driver, or say why not") {
  using gpu::VendorLibrary;
  for (const auto& [library, name, function] :
       {std::tuple{VendorLibrary::cublas, "cuBLAS ", "cublasGemmEx"},
        std::tuple{VendorLibrary::cublaslt, "cuBLASLt ", "cublasLtMatmul"},
        std::tuple{VendorLibrary::cudnn, "cuDNN ", "cudnnConvolutionForward"}}) {
    std::string why;
    if (gpu::vendor_library(library).available(&why)) {
      CHECK(gpu::vendor_library(library).symbol(function) != nullptr);
      CHECK_THROWS_WITH(gpu::vendor_library(library).symbol("frcnn_no_such_function"),
                        mentions("has no function frcnn_no_such_function"));
    } else {
      CHECK_THAT(why, mentions(name));
      CHECK_THROWS_WITH(gpu::vendor_library(library).symbol(function), mentions(name));
    }
  }
}

TEST_CASE("BLAS calls for row-major products, read as the BLAS defines them") {
  // 3 x 5 = 3 x 4 times 4 x 5, in all four storage orders.
  const gpu::ProductShape shape{3, 5, 4};
  for (const bool a_outer : {false, true})
    for (const bool b_outer : {false, true}) {
      gpu::ProductShape s = shape;
      s.a_outer = a_outer, s.b_outer = b_outer;
      const auto a = random_vector<double>(12, -1, 1, 1), b = random_vector<double>(20, -1, 1, 2);
      const auto call = gpu::blas_call(s);
      std::vector<double> c(15, -1);
      // Column-major result (m x n) = op(first) (m x k) op(second) (k x n).
      for (int64_t i = 0; i < call.m; ++i)
        for (int64_t j = 0; j < call.n; ++j) {
          double sum = 0;
          for (int64_t l = 0; l < call.k; ++l) {
            const int64_t first =
                call.transpose_first ? l + i * call.stride_first : i + l * call.stride_first;
            const int64_t second =
                call.transpose_second ? j + l * call.stride_second : l + j * call.stride_second;
            sum += b[static_cast<size_t>(first)] * a[static_cast<size_t>(second)];
          }
          c[static_cast<size_t>(i + j * call.stride_result)] = sum;
        }
      std::vector<double> wanted;
      for (int64_t i = 0; i < 3; ++i)
        for (int64_t j = 0; j < 5; ++j) {
          double sum = 0;
          for (int64_t l = 0; l < 4; ++l)
            sum += a[static_cast<size_t>(a_outer ? l * 3 + i : i * 4 + l)] *
                   b[static_cast<size_t>(b_outer ? l * 5 + j : j * 4 + l)];
          wanted.push_back(sum);
        }
      INFO(a_outer << b_outer);
      FRCNN_CHECK_SAME(c, wanted, 1e-14, 1e-14);
    }
}
