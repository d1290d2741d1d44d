#include "apps/version.h"

#include <hdf5.h>
#include <oneapi/dnnl/dnnl.h>

#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"

namespace frcnn::apps {
namespace {

/// Largest instruction set that oneDNN will use here.
std::string cpu_isa() {
  switch (dnnl_get_effective_cpu_isa()) {
    case dnnl_cpu_isa_sse41:
      return "SSE4.1";
    case dnnl_cpu_isa_avx:
      return "AVX";
    case dnnl_cpu_isa_avx2:
      return "AVX2";
    case dnnl_cpu_isa_avx512_core:
      return "AVX-512";
    case dnnl_cpu_isa_avx512_core_vnni:
      return "AVX-512 with VNNI";
    case dnnl_cpu_isa_avx512_core_bf16:
      return "AVX-512 with bf16";
    case dnnl_cpu_isa_avx512_core_amx:
      return "AVX-512 with AMX";
    case dnnl_cpu_isa_avx2_vnni:
      return "AVX2 with VNNI";
    default:
      return fmt::format("0x{:x}", static_cast<unsigned>(dnnl_get_effective_cpu_isa()));
  }
}

}  // namespace

std::string program_version() {
  return FRCNN_VERSION;
}

std::string version_text() {
  const dnnl_version_t* dnn = dnnl_version();
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  const std::string build = FRCNN_BUILD_TYPE;
  return fmt::format(
      "frcnn {} ({} build)\n"
      "compiler  g++ {}\n"
      "libraries oneDNN {}.{}.{}, HDF5 {}.{}.{}\n"
      "device    CPU, {}, {} thread{}",
      program_version(), build.empty() ? "unnamed" : build, __VERSION__, dnn->major, dnn->minor,
      dnn->patch, major, minor, release, cpu_isa(), kernels::num_threads(),
      kernels::num_threads() == 1 ? "" : "s");
}

}  // namespace frcnn::apps
