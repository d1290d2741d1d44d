// Float32 convolution by oneDNN: the choice of algorithm, the cache of plans, execution.
#include <map>
#include <mutex>
#include <tuple>
#include <unordered_map>

#include "kernels/conv/conv2d.h"
#include "kernels/launch/onednn.h"

namespace frcnn::kernels::cpu {
namespace {

using dnnl::memory;
using tag = memory::format_tag;
using Pass = Conv2dPlan::Pass;

bool has_avx512() {
  static const bool value = dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx512_core;
  return value;
}

tag map_tag(const MapLayout& map) {
  if (map.block == 1) return tag::nchw;
  if (map.block == 16) return tag::nChw16c;
  if (map.block == 8) return tag::nChw8c;
  check(map.block == map.c, "[conv2d] channel block {} of a map with {} channels is not supported",
        map.block, map.c);
  return tag::nhwc;
}

memory::desc map_desc(const MapLayout& map) {
  return {{map.n, map.c, map.h, map.w}, onednn::f32(), map_tag(map)};
}

/// Winograd needs 3x3 stride 1 and pays when both channel counts fill vectors and the map fills
/// tiles. Measured on AVX-512 processors: 2 to 3 times the direct form from 64 channels on.
bool winograd_wins(const Conv2dParams& p) {
  return has_avx512() && p.kernel_h == 3 && p.kernel_w == 3 && p.stride_h == 1 && p.stride_w == 1 &&
         p.input.c >= 64 && p.out_channels >= 64 && p.input.h >= 12 && p.input.w >= 12;
}

struct Descs {
  memory::desc x, w_any, w_plain, b, y;
  memory::dims strides, pad;
  explicit Descs(const Conv2dParams& p)
      : x(map_desc(p.input)),
        w_any({p.out_channels, p.input.c, p.kernel_h, p.kernel_w}, onednn::f32(), tag::any),
        w_plain({p.out_channels, p.input.c, p.kernel_h, p.kernel_w}, onednn::f32(), tag::oihw),
        b(p.bias ? memory::desc({p.out_channels}, onednn::f32(), tag::x) : memory::desc()),
        y(map_desc(p.output())),
        strides{p.stride_h, p.stride_w},
        pad{p.pad_h, p.pad_w} {}
};

dnnl::convolution_forward::primitive_desc forward_desc(const Conv2dParams& p, dnnl::prop_kind kind,
                                                       dnnl::algorithm algorithm,
                                                       const dnnl::primitive_attr& attr) {
  const Descs d(p);
#if DNNL_VERSION_MAJOR >= 3
  return {onednn::engine(), kind, algorithm, d.x, d.w_any, d.b, d.y, d.strides, d.pad, d.pad, attr};
#else
  const auto desc = p.bias ? dnnl::convolution_forward::desc(kind, algorithm, d.x, d.w_any, d.b,
                                                             d.y, d.strides, d.pad, d.pad)
                           : dnnl::convolution_forward::desc(kind, algorithm, d.x, d.w_any, d.y,
                                                             d.strides, d.pad, d.pad);
  return {desc, attr, onednn::engine()};
#endif
}

dnnl::convolution_backward_data::primitive_desc backward_data_desc(const Conv2dParams& p,
                                                                   dnnl::algorithm algorithm) {
  const Descs d(p);
  const auto hint =
      forward_desc(p, dnnl::prop_kind::forward_training, algorithm, dnnl::primitive_attr());
  const auto attr = onednn::attributes(false);
#if DNNL_VERSION_MAJOR >= 3
  return {onednn::engine(), algorithm, d.x, d.w_any, d.y, d.strides, d.pad, d.pad, hint, attr};
#else
  return {{algorithm, d.x, d.w_any, d.y, d.strides, d.pad, d.pad}, attr, onednn::engine(), hint};
#endif
}

dnnl::convolution_backward_weights::primitive_desc backward_weights_desc(
    const Conv2dParams& p, dnnl::algorithm algorithm) {
  const Descs d(p);
  const auto hint =
      forward_desc(p, dnnl::prop_kind::forward_training, algorithm, dnnl::primitive_attr());
  const auto attr = onednn::attributes(false);
#if DNNL_VERSION_MAJOR >= 3
  return {onednn::engine(), algorithm, d.x, d.w_any, d.b, d.y, d.strides, d.pad, d.pad, hint, attr};
#else
  if (p.bias)
    return {
        {algorithm, d.x, d.w_any, d.b, d.y, d.strides, d.pad, d.pad}, attr, onednn::engine(), hint};
  return {{algorithm, d.x, d.w_any, d.y, d.strides, d.pad, d.pad}, attr, onednn::engine(), hint};
#endif
}

/// Everything that tells plans apart.
auto key_of(const Conv2dParams& p, Pass pass) {
  const MapLayout& x = p.input;
  return std::tuple(x.n, x.c, x.h, x.w, x.block, p.out_channels, p.out_block, p.kernel_h,
                    p.kernel_w, p.stride_h, p.stride_w, p.pad_h, p.pad_w, p.bias, p.relu,
                    p.algorithm, pass);
}

}  // namespace

int64_t preferred_channel_block() {
  if (has_avx512()) return 16;
  return dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx2 ? 8 : 1;
}

struct Conv2dPlan::Impl {
  Conv2dParams params;
  memory::desc x, weights, weights_plain, bias, y, scratch;
  dnnl::primitive primitive;
  std::string format, implementation;

  template <typename PrimitiveDesc>
  void describe(const PrimitiveDesc& desc, const memory::desc& weight_desc) {
    const Descs d(params);
    x = d.x;
    y = d.y;
    bias = d.b;
    weights = weight_desc;
    weights_plain = d.w_plain;
    scratch = desc.scratchpad_desc();
    implementation = desc.impl_info_str();
    format = onednn::format_key(weights);
  }

  void make(Pass pass, dnnl::algorithm algorithm) {
    if (pass == Pass::backward_data) {
      const auto desc = backward_data_desc(params, algorithm);
      describe(desc, desc.weights_desc());
      primitive = dnnl::convolution_backward_data(desc);
    } else if (pass == Pass::backward_weights) {
      const auto desc = backward_weights_desc(params, algorithm);
      describe(desc, desc.diff_weights_desc());
      primitive = dnnl::convolution_backward_weights(desc);
    } else {
      const auto kind = pass == Pass::forward_inference ? dnnl::prop_kind::forward_inference
                                                        : dnnl::prop_kind::forward_training;
      const auto desc = forward_desc(params, kind, algorithm, onednn::attributes(params.relu));
      describe(desc, desc.weights_desc());
      primitive = dnnl::convolution_forward(desc);
    }
  }

  void run(std::unordered_map<int, memory> arguments, void* scratch_memory) const {
    arguments.emplace(DNNL_ARG_SCRATCHPAD, onednn::memory(scratch, scratch_memory));
    primitive.execute(onednn::stream(), arguments);
    onednn::stream().wait();
  }
};

Conv2dPlan::Conv2dPlan(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Conv2dPlan::~Conv2dPlan() = default;

std::shared_ptr<const Conv2dPlan> Conv2dPlan::get(const Conv2dParams& params, Pass pass) {
  Conv2dParams p = params;
  if (pass == Pass::backward_data || pass == Pass::backward_weights) p.relu = false;
  if (pass == Pass::backward_data) p.bias = false;
  static std::mutex mutex;
  static std::map<decltype(key_of(p, pass)), std::shared_ptr<const Conv2dPlan>> plans;
  std::lock_guard lock(mutex);
  auto& plan = plans[key_of(p, pass)];
  if (plan) return plan;
  check(p.input.n > 0 && p.input.c > 0 && p.out_h() > 0 && p.out_w() > 0 && p.stride_h > 0 &&
            p.stride_w > 0,
        "[conv2d] a {}x{} kernel does not fit a map of {} x {} x {} with padding {} x {}",
        p.kernel_h, p.kernel_w, p.input.c, p.input.h, p.input.w, p.pad_h, p.pad_w);
  auto impl = std::make_unique<Impl>();
  impl->params = p;
  const bool winograd = p.algorithm == ConvAlgorithm::winograd ||
                        (p.algorithm == ConvAlgorithm::automatic && winograd_wins(p));
  bool made = false;
  if (winograd) {
    try {
      impl->make(pass, dnnl::algorithm::convolution_winograd);
      made = true;
    } catch (const dnnl::error&) {  // not supported for this shape or processor: the direct form is
    }
  }
  if (!made) try {
      impl->make(pass, dnnl::algorithm::convolution_direct);
    } catch (const dnnl::error& e) {
      fail("[conv2d] oneDNN cannot do {}x{}x{}x{} to {} channels with a {}x{} kernel: {}",
           p.input.n, p.input.c, p.input.h, p.input.w, p.out_channels, p.kernel_h, p.kernel_w,
           e.message);
    }
  plan.reset(new Conv2dPlan(std::move(impl)));
  return plan;
}

const std::string& Conv2dPlan::weight_format() const {
  return impl_->format;
}
const std::string& Conv2dPlan::implementation() const {
  return impl_->implementation;
}
size_t Conv2dPlan::packed_weight_bytes() const {
  return impl_->weights.get_size();
}
size_t Conv2dPlan::scratch_bytes() const {
  return impl_->scratch.get_size();
}
bool Conv2dPlan::plain_weights() const {
  return impl_->weights == impl_->weights_plain;
}

void Conv2dPlan::pack_weights(const float* w, void* packed) const {
  onednn::reorder(onednn::memory(impl_->weights_plain, w), onednn::memory(impl_->weights, packed));
}

void Conv2dPlan::forward(const float* x, const void* packed_w, const float* b, float* y,
                         void* scratch) const {
  std::unordered_map<int, memory> arguments = {
      {DNNL_ARG_SRC, onednn::memory(impl_->x, x)},
      {DNNL_ARG_WEIGHTS, onednn::memory(impl_->weights, packed_w)},
      {DNNL_ARG_DST, onednn::memory(impl_->y, y)}};
  if (impl_->params.bias) arguments.emplace(DNNL_ARG_BIAS, onednn::memory(impl_->bias, b));
  impl_->run(std::move(arguments), scratch);
}

void Conv2dPlan::backward_data(const float* dy, const void* packed_w, float* dx,
                               void* scratch) const {
  impl_->run({{DNNL_ARG_DIFF_DST, onednn::memory(impl_->y, dy)},
              {DNNL_ARG_WEIGHTS, onednn::memory(impl_->weights, packed_w)},
              {DNNL_ARG_DIFF_SRC, onednn::memory(impl_->x, dx)}},
             scratch);
}

void Conv2dPlan::backward_weights(const float* x, const float* dy, float* dw, float* db,
                                  void* packed, void* scratch) const {
  void* target = plain_weights() ? static_cast<void*>(dw) : packed;
  std::unordered_map<int, memory> arguments = {
      {DNNL_ARG_SRC, onednn::memory(impl_->x, x)},
      {DNNL_ARG_DIFF_DST, onednn::memory(impl_->y, dy)},
      {DNNL_ARG_DIFF_WEIGHTS, onednn::memory(impl_->weights, target)}};
  if (impl_->params.bias) arguments.emplace(DNNL_ARG_DIFF_BIAS, onednn::memory(impl_->bias, db));
  impl_->run(std::move(arguments), scratch);
  if (!plain_weights())
    onednn::reorder(onednn::memory(impl_->weights, target),
                    onednn::memory(impl_->weights_plain, dw));
}

}  // namespace frcnn::kernels::cpu
