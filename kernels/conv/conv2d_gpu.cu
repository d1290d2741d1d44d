// Convolution on a GPU: checks, sizes, and the way to the versions.
#include "kernels/conv/conv_versions.cuh"

namespace frcnn::kernels::gpu {
namespace {

bool is_forward(LayerPass pass) {
  return pass == LayerPass::forward_inference || pass == LayerPass::forward_training;
}
bool is_gemm(ConvVersion version) {
  return version == ConvVersion::tiled || version == ConvVersion::mma_tf32 ||
         version == ConvVersion::mma_bf16;
}
/// Elements of 16 bytes of the factors.
int chunk_of(ConvVersion version) {
  return version == ConvVersion::mma_bf16 || version == ConvVersion::wgmma_bf16 ? 8 : 4;
}
conv::WeightFormat format_of(ConvVersion version) {
  switch (version) {
    case ConvVersion::mma_tf32:
      return conv::WeightFormat::tf32;
    case ConvVersion::mma_bf16:
    case ConvVersion::wgmma_bf16:
      return conv::WeightFormat::bf16;
    default:
      return conv::WeightFormat::f32;
  }
}

template <typename T>
const char* type_name() {
  if constexpr (std::is_same_v<T, double>) return "float64";
  return std::is_same_v<T, Bfloat16> ? "bfloat16" : "float32";
}

/// What no version can do.
std::string shape_fault(const Conv2dParams& p) {
  constexpr int64_t kMost = (int64_t{1} << 31) - 256;
  const MapLayout x = p.input;
  if (x.n < 0 || x.c < 1 || x.h < 1 || x.w < 1 || x.block < 1 || p.out_channels < 1 ||
      p.out_block < 1)
    return "sizes and blocks must be positive";
  if (p.kernel_h < 1 || p.kernel_w < 1 || p.stride_h < 1 || p.stride_w < 1 || p.pad_h < 0 ||
      p.pad_w < 0 || p.dilation_h < 1 || p.dilation_w < 1)
    return "kernel, stride and dilation must be positive, padding not negative";
  if (p.groups < 1 || x.c % p.groups != 0 || p.out_channels % p.groups != 0)
    return fmt::format("{} groups do not divide the channels", p.groups);
  if (x.h + 2 * p.pad_h < p.extent_h() || x.w + 2 * p.pad_w < p.extent_w())
    return fmt::format("a {}x{} kernel does not fit a map of {} x {} with padding {}x{}",
                       p.kernel_h, p.kernel_w, x.h, x.w, p.pad_h, p.pad_w);
  const auto image = [](const MapLayout& m) { return m.blocks() * m.block * m.h * m.w; };
  const MapLayout y = p.output();
  if (image(x) >= kMost || image(y) >= kMost || x.n * x.h * x.w >= kMost ||
      4 * x.n * y.h * y.w >= kMost || p.weight_size() >= kMost ||
      int64_t{p.stride_h} * p.stride_w > 65535)
    return "the map is too large";
  return {};
}

template <typename T>
std::string fault(const Conv2dParams& p, LayerPass pass, ConvVersion version) {
  if (std::string why = shape_fault(p); !why.empty()) return why;
  constexpr bool kFloat = std::is_same_v<T, float>, kBf16 = std::is_same_v<T, Bfloat16>;
  const bool types = version == ConvVersion::naive ||
                     ((version == ConvVersion::mma_bf16 || version == ConvVersion::depthwise) &&
                      (kFloat || kBf16)) ||
                     (version == ConvVersion::wgmma_bf16 ? kBf16 : kFloat);
  if (!types) return fmt::format("it has no {} maps", type_name<T>());
  if (version == ConvVersion::depthwise) return conv::depthwise_fault(p);
  if (version != ConvVersion::naive) {
    if (p.groups != 1) return "it has no groups";
    if (p.dilated()) return "it has no dilation";
  }
  if (version == ConvVersion::winograd) {
    if (pass == LayerPass::backward_weights) return "it has no weights gradient";
    if (p.kernel_h != 3 || p.kernel_w != 3 || p.stride_h != 1 || p.stride_w != 1)
      return "it needs a 3x3 kernel of stride 1";
  }
  if (version == ConvVersion::wgmma_bf16) {
    if (!is_forward(pass)) return "it has no gradients";
    if (p.stride_h != 1 || p.stride_w != 1) return "it needs stride 1";
    if (p.input.block != p.input.c || p.out_block != p.out_channels || p.input.c % 8 != 0 ||
        p.out_channels % 8 != 0)
      return "it needs NHWC with channels in multiples of 8";
  }
  return {};
}

template <typename T>
void require(const Conv2dParams& p, LayerPass pass, ConvVersion version) {
  const std::string why = fault<T>(p, pass, version);
  check(why.empty(), "[conv2d] {} cannot compute {} to {} channels, kernel {}x{}, stride {}x{}: {}",
        kConvVersions[static_cast<int>(version)].name,
        fmt::format("{}x{}x{}x{}", p.input.n, p.input.c, p.input.h, p.input.w), p.out_channels,
        p.kernel_h, p.kernel_w, p.stride_h, p.stride_w, why);
}

conv::GatherProblem gather_problem(const Conv2dParams& p, LayerPass pass, ConvVersion version) {
  return conv::gather_problem(p, !is_forward(pass), chunk_of(version));
}

/// Runs body(std::integral_constant<ConvVersion, v>) for the GEMM version that T has.
template <typename T, typename Body>
void with_gemm_version(ConvVersion version, const Body& body) {
  if constexpr (std::is_same_v<T, float>) {
    if (version == ConvVersion::tiled)
      return body(std::integral_constant<ConvVersion, ConvVersion::tiled>{});
    if (version == ConvVersion::mma_tf32)
      return body(std::integral_constant<ConvVersion, ConvVersion::mma_tf32>{});
  }
  if constexpr (!std::is_same_v<T, double>)
    body(std::integral_constant<ConvVersion, ConvVersion::mma_bf16>{});
}

}  // namespace

template <typename T>
bool conv2d_supported(const Conv2dParams& params, LayerPass pass, ConvVersion version,
                      std::string* why) {
  const std::string reason = fault<T>(params, pass, version);
  if (why != nullptr) *why = reason;
  return reason.empty();
}

template <typename T>
ConvVersion conv2d_version(const Conv2dParams& p, LayerPass pass) {
  if constexpr (std::is_same_v<T, double>) return ConvVersion::naive;
  if (p.groups != 1 && conv2d_supported<T>(p, pass, ConvVersion::depthwise))
    return ConvVersion::depthwise;
  if (p.groups != 1 || p.dilated()) return ConvVersion::naive;
  if constexpr (std::is_same_v<T, Bfloat16>) return ConvVersion::mma_bf16;
  // The transforms are paid back by many channels only.
  const bool winograd =
      p.algorithm != ConvAlgorithm::direct && p.input.block == 1 && p.out_block == 1 &&
      (p.algorithm == ConvAlgorithm::winograd || (p.input.c >= 64 && p.out_channels >= 64)) &&
      conv2d_supported<T>(p, pass, ConvVersion::winograd);
  return winograd ? ConvVersion::winograd : ConvVersion::tiled;
}

template <typename T>
size_t conv2d_packed_bytes(const Conv2dParams& p, LayerPass pass, ConvVersion version) {
  require<T>(p, pass, version);
  if (pass == LayerPass::backward_weights || version == ConvVersion::naive ||
      version == ConvVersion::depthwise)
    return 0;
  if (version == ConvVersion::winograd)
    return conv::WinogradSize(p, !is_forward(pass)).packed_bytes();
  const conv::GatherProblem g = gather_problem(p, pass, version);
  return static_cast<size_t>(int64_t{g.classes} * g.columns * g.depth) *
         (format_of(version) == conv::WeightFormat::bf16 ? 2 : 4);
}

template <Backend backend, typename T>
void conv2d_pack_weights(Stream stream, const Conv2dParams& p, LayerPass pass,
                         const ConvWeight<T>* w, void* packed, ConvVersion version) {
  if (conv2d_packed_bytes<T>(p, pass, version) == 0) return;
  if constexpr (!std::is_same_v<T, double>) {
    if (version == ConvVersion::winograd) {
      conv::winograd_pack<backend>(stream, p, !is_forward(pass), w, static_cast<float*>(packed));
    } else {
      conv::pack_weights<backend>(stream, gather_problem(p, pass, version), format_of(version), w,
                                  packed);
    }
  }
}

template <typename T>
size_t conv2d_workspace(const Conv2dParams& p, LayerPass pass, ConvVersion version) {
  require<T>(p, pass, version);
  if (version == ConvVersion::winograd) return conv::WinogradSize(p, !is_forward(pass)).workspace();
  if (pass != LayerPass::backward_weights) return 0;
  size_t bytes = static_cast<size_t>(conv::bias_workspace(p.output())) * sizeof(double);
  if (is_gemm(version)) {
    const conv::WeightsProblem w = conv::weights_problem(p, chunk_of(version));
    bytes += static_cast<size_t>(int64_t{w.splits} * p.out_channels * w.columns) * sizeof(float);
  }
  if (version == ConvVersion::depthwise)
    bytes += static_cast<size_t>(p.input.n * conv::depthwise_pieces(p) * p.weight_size()) *
             sizeof(float);
  return bytes;
}

template <Backend backend, typename T>
void conv2d_forward(Stream stream, const Conv2dParams& p, const T* x, const void* w,
                    const ConvWeight<T>* b, T* y, [[maybe_unused]] void* workspace,
                    ConvVersion version, ConvTile tile) {
  constexpr LayerPass kPass = LayerPass::forward_training;
  require<T>(p, kPass, version);
  if (version == ConvVersion::naive)
    return conv::naive_forward<backend>(stream, p, x, static_cast<const ConvWeight<T>*>(w), b, y);
  if constexpr (!std::is_same_v<T, double>) {
    if (version == ConvVersion::depthwise)
      return conv::depthwise_forward<backend>(stream, p, x, static_cast<const float*>(w), b, y);
  }
  if constexpr (std::is_same_v<T, float>) {
    if (version == ConvVersion::winograd)
      return conv::winograd_run<backend>(stream, p, false, x, static_cast<const float*>(w), b, y,
                                         workspace, tile);
  }
  if constexpr (std::is_same_v<T, Bfloat16>) {
    if (version == ConvVersion::wgmma_bf16)
      return conv::wgmma_forward<backend>(stream, p, x, w, b, y);
  }
  if constexpr (!std::is_same_v<T, double>)
    with_gemm_version<T>(version, [&](auto v) {
      conv::gemm_gather<backend, decltype(v)::value>(stream, gather_problem(p, kPass, version),
                                                     p.input, x, w, b, y,
                                                     static_cast<uint8_t*>(nullptr), tile);
    });
}

template <Backend backend, typename T>
void conv2d_relu_pool_forward(Stream stream, const Conv2dParams& p, const MaxPoolParams& pool,
                              const T* x, const void* w, const ConvWeight<T>* b, T* y,
                              uint8_t* window, ConvVersion version, ConvTile tile) {
  constexpr LayerPass kPass = LayerPass::forward_training;
  require<T>(p, kPass, version);
  check(is_gemm(version), "[conv2d] {} has no fused pooling: tiled and the mma versions have",
        kConvVersions[static_cast<int>(version)].name);
  check(pool.kernel_h == 2 && pool.kernel_w == 2 && pool.stride_h == 2 && pool.stride_w == 2 &&
            pool.pad_h == 0 && pool.pad_w == 0,
        "[conv2d] fused pooling takes 2x2 windows of stride 2 without padding, got {}x{} of "
        "stride {}x{} with padding {}x{}",
        pool.kernel_h, pool.kernel_w, pool.stride_h, pool.stride_w, pool.pad_h, pool.pad_w);
  if constexpr (!std::is_same_v<T, double>) {
    conv::GatherProblem problem = gather_problem(p, kPass, version);
    problem.target = conv::Map(max_pool_layout(p.output(), pool));
    problem.pooled = true;
    problem.relu = true;
    with_gemm_version<T>(version, [&](auto v) {
      conv::gemm_gather<backend, decltype(v)::value>(stream, problem, p.input, x, w, b, y, window,
                                                     tile);
    });
  }
}

template <Backend backend, typename T>
void conv2d_backward_data(Stream stream, const Conv2dParams& p, const T* dy, const void* w, T* dx,
                          [[maybe_unused]] void* workspace, ConvVersion version, ConvTile tile) {
  constexpr LayerPass kPass = LayerPass::backward_data;
  require<T>(p, kPass, version);
  if (version == ConvVersion::naive)
    return conv::naive_backward_data<backend>(stream, p, dy, static_cast<const ConvWeight<T>*>(w),
                                              dx);
  if constexpr (!std::is_same_v<T, double>) {
    if (version == ConvVersion::depthwise)
      return conv::depthwise_backward_data<backend>(stream, p, dy, static_cast<const float*>(w),
                                                    dx);
  }
  if constexpr (std::is_same_v<T, float>) {
    if (version == ConvVersion::winograd)
      return conv::winograd_run<backend>(stream, p, true, dy, static_cast<const float*>(w),
                                         static_cast<const float*>(nullptr), dx, workspace, tile);
  }
  if constexpr (!std::is_same_v<T, double>)
    with_gemm_version<T>(version, [&](auto v) {
      conv::gemm_gather<backend, decltype(v)::value>(
          stream, gather_problem(p, kPass, version), p.output(), dy, w,
          static_cast<const float*>(nullptr), dx, static_cast<uint8_t*>(nullptr), tile);
    });
}

template <Backend backend, typename T>
void conv2d_backward_weights(Stream stream, const Conv2dParams& p, const T* x, const T* dy,
                             ConvWeight<T>* dw, ConvWeight<T>* db, void* workspace,
                             ConvVersion version, ConvTile tile) {
  require<T>(p, LayerPass::backward_weights, version);
  auto* const sums = static_cast<double*>(workspace);
  if (db != nullptr) conv::backward_bias<backend>(stream, p.output(), dy, db, sums);
  if (version == ConvVersion::naive)
    return conv::naive_backward_weights<backend>(stream, p, x, dy, dw);
  [[maybe_unused]] auto* const parts =
      reinterpret_cast<float*>(sums + conv::bias_workspace(p.output()));
  if constexpr (!std::is_same_v<T, double>) {
    if (version == ConvVersion::depthwise)
      return conv::depthwise_backward_weights<backend>(stream, p, x, dy, parts, dw);
    with_gemm_version<T>(version, [&](auto v) {
      const conv::WeightsProblem problem = conv::weights_problem(p, chunk_of(version));
      conv::gemm_weights<backend, decltype(v)::value>(stream, problem, p, x, dy, parts, tile);
      conv::finish_weights<backend>(stream, problem, parts, dw);
    });
  }
}

#define FRCNN_INSTANTIATE(T)                                                                      \
  template bool conv2d_supported<T>(const Conv2dParams&, LayerPass, ConvVersion, std::string*);   \
  template ConvVersion conv2d_version<T>(const Conv2dParams&, LayerPass);                         \
  template size_t conv2d_packed_bytes<T>(const Conv2dParams&, LayerPass, ConvVersion);            \
  template size_t conv2d_workspace<T>(const Conv2dParams&, LayerPass, ConvVersion);               \
  template void conv2d_pack_weights<kBackend, T>(Stream, const Conv2dParams&, LayerPass,          \
                                                 const ConvWeight<T>*, void*, ConvVersion);       \
  template void conv2d_forward<kBackend, T>(Stream, const Conv2dParams&, const T*, const void*,   \
                                            const ConvWeight<T>*, T*, void*, ConvVersion,         \
                                            ConvTile);                                            \
  template void conv2d_relu_pool_forward<kBackend, T>(                                            \
      Stream, const Conv2dParams&, const MaxPoolParams&, const T*, const void*,                   \
      const ConvWeight<T>*, T*, uint8_t*, ConvVersion, ConvTile);                                 \
  template void conv2d_backward_data<kBackend, T>(Stream, const Conv2dParams&, const T*,          \
                                                  const void*, T*, void*, ConvVersion, ConvTile); \
  template void conv2d_backward_weights<kBackend, T>(Stream, const Conv2dParams&, const T*,       \
                                                     const T*, ConvWeight<T>*, ConvWeight<T>*,    \
                                                     void*, ConvVersion, ConvTile);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
FRCNN_INSTANTIATE(Bfloat16)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
