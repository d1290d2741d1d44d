#pragma once

#include <cmath>
#include <cstring>

#include "kernels/conv/conv2d_gpu.h"
#include "kernels/launch/check.h"
#include "tests/gpu/map_gpu_support.h"

/// Convolutions on a backend beside the float64 reference with the same rounded factors.
namespace frcnn::test {

using kernels::Backend;
using kernels::Bfloat16;
using kernels::Conv2dParams;
using kernels::ConvTile;
using kernels::ConvVersion;
using kernels::LayerPass;
using kernels::MapLayout;

struct ConvShape {
  int64_t n, c, h, w, o;
  int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
};
/// Square kernel, stride and padding.
inline ConvShape square(int64_t n, int64_t c, int64_t h, int64_t w, int64_t o, int kernel,
                        int stride, int pad) {
  return {n, c, h, w, o, kernel, kernel, stride, stride, pad, pad};
}

/// Channel blocks of x and y; 0: NHWC.
struct ConvBlocks {
  int64_t in, out;
};
inline Conv2dParams conv_params(const ConvShape& s, ConvBlocks blocks, bool relu = false) {
  Conv2dParams p;
  p.input = {s.n, s.c, s.h, s.w, blocks.in == 0 ? s.c : blocks.in};
  p.out_channels = s.o;
  p.out_block = blocks.out == 0 ? s.o : blocks.out;
  p.kernel_h = s.kernel_h, p.kernel_w = s.kernel_w;
  p.stride_h = s.stride_h, p.stride_w = s.stride_w;
  p.pad_h = s.pad_h, p.pad_w = s.pad_w;
  p.relu = relu;
  return p;
}

template <typename To>
std::vector<To> cast(const std::vector<double>& from) {
  std::vector<To> to(from.size());
  for (size_t i = 0; i < from.size(); ++i) {
    if constexpr (std::is_same_v<To, Bfloat16>) {
      to[i] = Bfloat16(static_cast<float>(from[i]));
    } else {
      to[i] = static_cast<To>(from[i]);
    }
  }
  return to;
}
template <typename From>
std::vector<double> widen(const std::vector<From>& from) {
  std::vector<double> to(from.size());
  for (size_t i = 0; i < from.size(); ++i) to[i] = static_cast<float>(from[i]);
  return to;
}
template <>
inline std::vector<double> widen(const std::vector<double>& from) {
  return from;
}

/// What a version multiplies with.
inline std::vector<double> factors(std::vector<double> values, ConvVersion version) {
  for (double& value : values) {
    const auto v = static_cast<float>(value);
    if (version == ConvVersion::mma_bf16 || version == ConvVersion::wgmma_bf16)
      value = static_cast<float>(Bfloat16(v));
    if (version == ConvVersion::mma_tf32) {
      uint32_t bits = 0;
      std::memcpy(&bits, &v, sizeof bits);
      bits = (bits + 0x1000u) & 0xFFFFE000u;
      float rounded = 0;
      std::memcpy(&rounded, &bits, sizeof bits);
      value = rounded;
    }
  }
  return values;
}

/// Numbers of one convolution, exact in T; weights and bias exact in float.
template <typename T>
struct ConvData {
  std::vector<double> x, w, b, dy;

  explicit ConvData(const Conv2dParams& p, uint64_t seed = 1) {
    const auto exact = [](const std::vector<double>& v) { return widen(cast<float>(v)); };
    x = widen(cast<T>(random_map<double>(p.input, -1, 1, seed)));
    dy = widen(cast<T>(random_map<double>(p.output(), -1, 1, seed + 1)));
    w = exact(random_vector<double>(static_cast<size_t>(p.weight_size()), -1, 1, seed + 2));
    b = exact(random_vector<double>(static_cast<size_t>(p.out_channels), -1, 1, seed + 3));
  }
};

/// Results, or sums of absolute values.
struct ConvResult {
  std::vector<double> y, dx, dw, db;
};

/// In float64, with the factors as `version` rounds them.
template <typename T>
ConvResult conv_reference(const Conv2dParams& p, ConvVersion version, const ConvData<T>& data,
                          bool with_bias, bool absolute_values = false) {
  auto x = factors(data.x, version), dy = factors(data.dy, version), w = factors(data.w, version);
  auto b = data.b, exact_dy = data.dy;
  if (absolute_values)
    for (auto* v : {&x, &dy, &w, &b, &exact_dy}) *v = absolute(*v);
  ConvResult r;
  r.y.resize(dy.size()), r.dx.resize(x.size()), r.dw.resize(w.size()), r.db.resize(b.size());
  namespace cpu = kernels::cpu;
  cpu::conv2d_forward_reference(p, x.data(), w.data(), with_bias ? b.data() : nullptr, r.y.data());
  cpu::conv2d_backward_data_reference(p, dy.data(), w.data(), r.dx.data());
  std::vector<double> unused(r.dw.size());
  cpu::conv2d_backward_weights_reference<double>(p, x.data(), dy.data(), r.dw.data(), nullptr);
  cpu::conv2d_backward_weights_reference(p, x.data(), exact_dy.data(), unused.data(), r.db.data());
  return r;
}

/// One convolution in device memory.
template <Backend backend, typename T>
class ConvRun {
  using W = kernels::gpu::ConvWeight<T>;

 public:
  ConvRun(const Conv2dParams& p, ConvVersion version, const ConvData<T>& data, bool with_bias,
          ConvTile tile)
      : p_(p),
        version_(version),
        tile_(tile),
        x_(cast<T>(data.x)),
        dy_(cast<T>(data.dy)),
        w_(cast<W>(data.w)),
        b_(cast<W>(data.b)),
        with_bias_(with_bias) {}

  std::vector<T> forward() const {
    const DeviceArray<backend, T> y(static_cast<size_t>(p_.output().size()));
    run(LayerPass::forward_training, [&](const void* w, void* workspace) {
      kernels::gpu::conv2d_forward<backend>(nullptr, p_, x_.data(), w, bias(), y.data(), workspace,
                                            version_, tile_);
    });
    return y.host();
  }
  std::vector<T> backward_data() const {
    const DeviceArray<backend, T> dx(static_cast<size_t>(p_.input.size()));
    run(LayerPass::backward_data, [&](const void* w, void* workspace) {
      kernels::gpu::conv2d_backward_data<backend>(nullptr, p_, dy_.data(), w, dx.data(), workspace,
                                                  version_, tile_);
    });
    return dx.host();
  }
  std::pair<std::vector<W>, std::vector<W>> backward_weights() const {
    const DeviceArray<backend, W> dw(w_.size()), db(b_.size());
    run(LayerPass::backward_weights, [&](const void*, void* workspace) {
      kernels::gpu::conv2d_backward_weights<backend>(nullptr, p_, x_.data(), dy_.data(), dw.data(),
                                                     db.data(), workspace, version_, tile_);
    });
    return {dw.host(), db.host()};
  }
  struct Pooled {
    std::vector<T> y;
    std::vector<uint8_t> window;
  };
  Pooled pooled(const kernels::MaxPoolParams& pool) const {
    const auto size = static_cast<size_t>(kernels::max_pool_layout(p_.output(), pool).size());
    const DeviceArray<backend, T> y(size);
    const DeviceArray<backend, uint8_t> window(size);
    run(LayerPass::forward_training, [&](const void* w, void*) {
      kernels::gpu::conv2d_relu_pool_forward<backend>(nullptr, p_, pool, x_.data(), w, bias(),
                                                      y.data(), window.data(), version_, tile_);
    });
    return {y.host(), window.host()};
  }

 private:
  const W* bias() const { return with_bias_ ? b_.data() : nullptr; }

  /// Calls body(weights as the pass wants them, workspace).
  template <typename Body>
  void run(LayerPass pass, const Body& body) const {
    namespace gpu = kernels::gpu;
    const size_t packed_bytes = gpu::conv2d_packed_bytes<T>(p_, pass, version_);
    const DeviceArray<backend, unsigned char> packed(packed_bytes),
        workspace(gpu::conv2d_workspace<T>(p_, pass, version_));
    gpu::conv2d_pack_weights<backend, T>(nullptr, p_, pass, w_.data(), packed.data(), version_);
    body(packed_bytes == 0 ? static_cast<const void*>(w_.data()) : packed.data(), workspace.data());
    packed.host();  // checks the guards
    workspace.host();
  }

  Conv2dParams p_;
  ConvVersion version_;
  ConvTile tile_;
  DeviceArray<backend, T> x_, dy_;
  DeviceArray<backend, W> w_, b_;
  bool with_bias_;
};

/// Whether a backend has the version: its instructions, and the code for them.
template <Backend backend>
bool runs(ConvVersion version) {
  const kernels::gpu::KernelVersion& v = kernels::kConvVersions[static_cast<int>(version)];
  if (backend == Backend::emulated) return v.emulated;
  const int capability = kernels::gpu::device_info<backend>().compute_capability;
  if (version != ConvVersion::wgmma_bf16) return capability >= v.capability;
  if (capability != 90) return false;
  // One output by a 1x1 convolution tells whether it was compiled for sm_90a.
  const Conv2dParams p = conv_params(square(1, 8, 1, 1, 8, 1, 1, 0), {0, 0});
  try {
    ConvRun<backend, Bfloat16>(p, version, ConvData<Bfloat16>(p), false, ConvTile::automatic)
        .forward();
  } catch (const Error& error) {
    WARN(error.what());
    return false;
  }
  return true;
}

/// How far a result may be from float64's: `roundings` of float32 (double for double) for each unit
/// of the sum of absolute values, and the rounding of a stored T.
struct ConvTolerance {
  double roundings;
  double stored;  ///< relative

  template <typename T>
  static ConvTolerance of(const Conv2dParams& p, LayerPass pass, ConvVersion version) {
    // A sum of k terms in any order is off by at most k roundings of the sum of absolute values,
    // and typically by its root. Tensor cores truncate where they align summands: one bit per 4
    // terms.
    const double k =
        pass == LayerPass::backward_weights
            ? static_cast<double>(p.input.n * p.out_h() * p.out_w())
            : static_cast<double>(std::max(p.group_in(), p.group_out()) * p.kernel_h * p.kernel_w);
    const bool mma = version == ConvVersion::mma_tf32 || version == ConvVersion::mma_bf16 ||
                     version == ConvVersion::wgmma_bf16;
    ConvTolerance t{mma ? 8 + k / 4 : 4 + 2 * std::sqrt(k), 0};
    if (std::is_same_v<T, Bfloat16> && pass != LayerPass::backward_weights)
      t.stored = std::ldexp(1.0, -8);  // half a unit in the last of 8 bits
    // The transforms add and subtract numbers of a whole tile, up to 100 (data) and 361 (result)
    // times as large; about twenty roundings of the largest sum are seen.
    if (version == ConvVersion::winograd) t.roundings = 64;
    return t;
  }
};

/// Empty, or where `actual` is further from `expected` than the tolerance. Winograd mixes the
/// numbers of a tile, so that its errors go with the largest magnitude.
template <typename T>
std::string conv_difference(const std::vector<T>& actual, const std::vector<double>& expected,
                            const std::vector<double>& magnitude, ConvTolerance tolerance,
                            bool mixes = false) {
  if (actual.size() != expected.size()) return "sizes differ";
  const double largest =
      magnitude.empty() ? 0 : *std::max_element(magnitude.begin(), magnitude.end());
  const double epsilon = std::ldexp(1.0, std::is_same_v<T, double> ? -53 : -24);
  const std::vector<double> values = widen(actual);
  for (size_t i = 0; i < values.size(); ++i) {
    const double limit = tolerance.roundings * epsilon * (mixes ? largest : magnitude[i]) +
                         tolerance.stored * std::abs(expected[i]);
    if (!(std::abs(values[i] - expected[i]) <= limit))
      return fmt::format("at {} of {}: {} instead of {}, limit {}", i, values.size(), values[i],
                         expected[i], limit);
  }
  return "";
}

struct ConvChoice {
  ConvVersion version;
  ConvTile tile;
};
/// All passes of one version against the reference.
template <typename T>
void check_conv_version(const Conv2dParams& p, ConvChoice choice, bool with_bias) {
  const ConvVersion version = choice.version;
  const ConvData<T> data(p);
  const ConvResult exact = conv_reference(p, version, data, with_bias);
  const ConvResult size = conv_reference(p, version, data, with_bias, true);
  const bool mixes = version == ConvVersion::winograd;
  using V =
      std::pair<std::vector<kernels::gpu::ConvWeight<T>>, std::vector<kernels::gpu::ConvWeight<T>>>;
  V first_gradients;
  for_backends([&](auto on) {
    if (!runs<decltype(on)::backend>(version)) return;
    INFO(kernels::kConvVersions[static_cast<int>(version)].name
         << ", tile " << static_cast<int>(choice.tile) << ", " << p.input.c << " to "
         << p.out_channels << ", kernel " << p.kernel_h << ", stride " << p.stride_h << ", groups "
         << p.groups << ", blocks " << p.input.block << " " << p.out_block << ", " << sizeof(T)
         << " bytes");
    const ConvRun<decltype(on)::backend, T> run(p, version, data, with_bias, choice.tile);
    const auto tolerance = [&](LayerPass pass) { return ConvTolerance::of<T>(p, pass, version); };
    if (kernels::gpu::conv2d_supported<T>(p, LayerPass::forward_training, version))
      CHECK(conv_difference(run.forward(), exact.y, size.y, tolerance(LayerPass::forward_training),
                            mixes) == "");
    if (kernels::gpu::conv2d_supported<T>(p, LayerPass::backward_data, version))
      CHECK(conv_difference(run.backward_data(), exact.dx, size.dx,
                            tolerance(LayerPass::backward_data), mixes) == "");
    if (kernels::gpu::conv2d_supported<T>(p, LayerPass::backward_weights, version)) {
      const V gradients = run.backward_weights();
      CHECK(conv_difference(gradients.first, exact.dw, size.dw,
                            tolerance(LayerPass::backward_weights)) == "");
      CHECK(conv_difference(gradients.second, exact.db, size.db,
                            tolerance(LayerPass::backward_weights)) == "");
      if (first_gradients.first.empty()) first_gradients = gradients;
      CHECK(first_gradients == gradients);  // whatever the schedule
    }
  });
}

}  // namespace frcnn::test
