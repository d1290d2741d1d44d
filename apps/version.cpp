#include "apps/version.h"

#include <hdf5.h>
#include <oneapi/dnnl/dnnl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "apps/program_device.h"
#include "apps/terminal.h"
#include "engine/host.h"
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

std::string build_type() {
  const std::string build = FRCNN_BUILD_TYPE;
  return build.empty() ? "unnamed" : build;
}

std::string libraries() {
  const dnnl_version_t* dnn = dnnl_version();
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("oneDNN {}.{}.{}, HDF5 {}.{}.{}", dnn->major, dnn->minor, dnn->patch, major,
                     minor, release);
}

/// The value of the first line of a file that begins with `key`, after a separator; "" if there is
/// none.
std::string value_of(const char* file, const std::string& key, char separator) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    const size_t at = line.find(separator);
    if (!line.starts_with(key) || at == std::string::npos) continue;
    const size_t begin = line.find_first_not_of(" \t\"", at + 1);
    if (begin == std::string::npos) return "";
    return line.substr(begin, line.find_last_not_of(" \t\"") + 1 - begin);
  }
  return "";
}

std::string operating_system() {
  const std::string name = value_of("/etc/os-release", "PRETTY_NAME", '=');
  utsname kernel{};
  if (uname(&kernel) != 0) return name;
  return fmt::format("{}{}{} {}, {}", name, name.empty() ? "" : ", ", kernel.sysname,
                     kernel.release, kernel.machine);
}

}  // namespace

std::string program_version() {
  return FRCNN_VERSION;
}

std::string version_text() {
  const std::string commit = source_commit();
  return fmt::format(
      "frcnn {} ({} build{})\n"
      "compiler  g++ {}\n"
      "libraries {}\n"
      "device    CPU, {}, {} thread{}",
      program_version(), build_type(), commit.empty() ? "" : ", commit " + commit, __VERSION__,
      libraries(), cpu_isa(), kernels::num_threads(), kernels::num_threads() == 1 ? "" : "s");
}

std::vector<std::pair<std::string, std::string>> environment() {
  const auto pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  std::vector<std::pair<std::string, std::string>> entries = {
      {"program", program_version()},
      {"commit", source_commit()},
      {"build", build_type()},
      {"compiler", fmt::format("g++ {}", __VERSION__)},
      {"libraries", libraries()},
      {"device", describe(program_device().device)},
      {"cpu", processor_name()},
      {"instructions", cpu_isa()},
      {"threads", fmt::format("{}", kernels::num_threads())},
      {"cores", fmt::format("{}", std::thread::hardware_concurrency())},
      {"memory",
       pages > 0 ? bytes_text(static_cast<double>(pages) * static_cast<double>(page)) : ""},
      {"system", operating_system()}};
  std::erase_if(entries, [](const auto& entry) { return entry.second.empty(); });
  return entries;
}

}  // namespace frcnn::apps
