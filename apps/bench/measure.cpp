#include "apps/bench/measure.h"

#include <algorithm>
#include <cmath>

#include "engine/host.h"
#include "kernels/conv/conv2d.h"
#include "kernels/launch/parallel.h"
#include "kernels/launch/peak.h"
#include "kernels/random/philox.h"

namespace frcnn::apps::bench {
namespace {

constexpr double kLeastSample = 200e-6;  // long beside the clock and the start of a kernel
constexpr int kMostSamples = 50;

/// The shortest sample: a ceiling is what the device can do, not what it does among others.
double best_seconds(ops::Memory& memory, const std::function<void()>& run) {
  return measure(memory, run, 0.4).least;
}

/// FLOP/s of a version of the matrix product; 0 where it cannot run here.
double product_flops(ops::Device device, const std::string& version, const std::string& type,
                     int64_t side) {
  try {
    ops::Case c;
    const ops::Array pattern = ops::Array::of({4}, std::vector<float>{0.5f, -0.25f, 0.75f, -1.0f});
    c.arrays["x"] = ops::Array::repeating({side, side}, pattern);
    c.arrays["w"] = ops::Array::repeating({side, side}, pattern);
    c.params["type"] = type;
    const ops::Operation& op = ops::operation("linear");
    ops::Desk desk(op, c, {device, version});
    op.prepare(desk);
    const double seconds = best_seconds(desk.memory(), desk.passes().at(0).run);
    return 2 * std::pow(static_cast<double>(side), 3) / seconds;
  } catch (const Error&) {
    return 0;
  }
}

Ceilings cpu_ceilings() {
  Ceilings ceilings;
  ops::Memory& memory = ops::memory_of(ops::Device::cpu);
  constexpr int64_t kCount = int64_t{1} << 25;  // 128 MiB: beyond the caches
  const std::vector<float> source(kCount, 1.0f);
  std::vector<float> target(kCount);
  ceilings.bytes_per_second =
      2 * sizeof(float) * kCount / best_seconds(memory, [&] {
        kernels::parallel_for(kCount, 1 << 16, [&](int64_t begin, int64_t end) {
          std::copy(source.begin() + begin, source.begin() + end, target.begin() + begin);
        });
      });
  ceilings.flops["f32"] = product_flops(ops::Device::cpu, "onednn", "f32", 2048);
  ceilings.how = "copy of 128 MiB; oneDNN's product of 2048 x 2048 matrices";
  return ceilings;
}

#if FRCNN_HAVE_CUDA
namespace gpu = kernels::gpu;
constexpr kernels::Backend kCuda = kernels::Backend::cuda;

double chain_flops(gpu::PeakArithmetic arithmetic, int64_t blocks) {
  ops::Memory& memory = ops::memory_of(ops::Device::cuda);
  constexpr int64_t kRounds = 400;
  void* sink = memory.allocate(sizeof(float));
  const double seconds = best_seconds(memory, [&] {
    gpu::run_peak<kCuda>(nullptr, arithmetic, blocks, kRounds, static_cast<float*>(sink));
  });
  memory.release(sink);
  return gpu::peak_flops(arithmetic, blocks, kRounds) / seconds;
}

Ceilings cuda_ceilings() {
  Ceilings ceilings;
  ops::Memory& memory = ops::memory_of(ops::Device::cuda);
  const gpu::DeviceInfo info = gpu::device_info<kCuda>();
  constexpr size_t kBytes = size_t{1} << 30;
  void *source = memory.allocate(kBytes), *target = memory.allocate(kBytes);
  memory.fill(source, 1, kBytes);
  ceilings.bytes_per_second = 2.0 * kBytes / best_seconds(memory, [&] {
                                gpu::copy_on_device<kCuda>(nullptr, target, source, kBytes);
                              });
  memory.release(source);
  memory.release(target);
  const int64_t blocks = 8 * info.multiprocessors;
  const auto best = [&](const char* name, gpu::PeakArithmetic arithmetic, const char* type) {
    const double chains = chain_flops(arithmetic, blocks);
    const double library =
        product_flops(ops::Device::cuda, std::string("cublaslt_") + name, type, 4096);
    ceilings.flops[name] = std::max(chains, library);
    ceilings.how += fmt::format("; {}: {:.0f} TFLOP/s in registers, {:.0f} by cuBLASLt", name,
                                chains / 1e12, library / 1e12);
  };
  ceilings.how = "copy of 1 GiB";
  best("f32", gpu::PeakArithmetic::f32, "f32");
  if (info.compute_capability >= 80) {
    best("tf32", gpu::PeakArithmetic::tf32, "f32");
    best("bf16", gpu::PeakArithmetic::bf16, "bf16");
  }
  return ceilings;
}
#endif

}  // namespace

Timing measure(ops::Memory& memory, const std::function<void()>& run, double budget) {
  const auto once = [&](int runs) {
    return memory.seconds([&] {
      for (int i = 0; i < runs; ++i) run();
    }) / runs;
  };
  double estimate = once(1);
  if (estimate < budget / 4) estimate = std::min(estimate, once(1));  // the first one warmed up
  const int runs =
      static_cast<int>(std::clamp(std::ceil(kLeastSample / std::max(estimate, 1e-9)), 1.0, 1000.0));
  const int samples =
      static_cast<int>(std::clamp(budget / (estimate * runs), 3.0, double{kMostSamples}));
  std::vector<double> times;
  for (int i = 0; i < samples; ++i) times.push_back(once(runs));
  std::sort(times.begin(), times.end());
  const auto at = [&](double share) {
    return times[static_cast<size_t>(std::lround(share * static_cast<double>(times.size() - 1)))];
  };
  return {at(0.5), at(0.25), at(0.75), times.front(), samples};
}

Ceilings measure_ceilings(ops::Device device) {
  if (device == ops::Device::cpu) return cpu_ceilings();
#if FRCNN_HAVE_CUDA
  if (device == ops::Device::cuda) return cuda_ceilings();
#endif
  return {};
}

std::string arithmetic_of(const std::string& version, const std::string& type) {
  const auto has = [&](const char* part) { return version.find(part) != std::string::npos; };
  if (has("bf16")) return "bf16";
  if (has("tf32")) return "tf32";
  return type == "f64" ? "f64" : "f32";
}

double least_seconds(const Ceilings& ceilings, const std::string& arithmetic, double flops,
                     double bytes) {
  const auto peak = ceilings.flops.find(arithmetic);
  const double computing =
      peak != ceilings.flops.end() && peak->second > 0 ? flops / peak->second : 0;
  const double moving = ceilings.bytes_per_second > 0 ? bytes / ceilings.bytes_per_second : 0;
  return std::max(computing, moving);
}

std::string natural_layout(ops::Device device) {
  if (device != ops::Device::cpu) return "nhwc";
  const int64_t block = kernels::cpu::preferred_channel_block();
  return block == 16 ? "blocked16" : block == 8 ? "blocked8" : "nchw";
}

void use_small_pixels(PreprocessConfig& preprocess) {
  preprocess.scale = 1.0 / 128;
  preprocess.mean = {1, 1, 1};
  preprocess.stddev = {1, 1, 1};
}

std::vector<uint8_t> random_picture(int height, int width) {
  std::vector<uint8_t> rgb(static_cast<size_t>(height) * static_cast<size_t>(width) * 3);
  for (size_t i = 0; i < rgb.size(); ++i)
    rgb[i] = static_cast<uint8_t>(kernels::random_bits({1, kernels::kStreamSynth, 0}, i) >> 24);
  return rgb;
}

double in_mib(size_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

std::string device_text(ops::Device device) {
#if FRCNN_HAVE_CUDA
  if (device == ops::Device::cuda) return gpu::device_info<kCuda>().name;
#endif
  const int threads = kernels::num_threads();
  return fmt::format("{}{}, {} thread{}", device == ops::Device::emulated ? "emulated on " : "",
                     processor_name(), threads, threads == 1 ? "" : "s");
}

}  // namespace frcnn::apps::bench
