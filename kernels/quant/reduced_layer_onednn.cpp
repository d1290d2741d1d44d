// Layers of reduced precision by oneDNN: direct convolutions on NHWC maps, and products of matrices
// with packed weights, which are faster than its inner product for large dense layers.
#include <unordered_map>
#include <vector>

#include "kernels/launch/onednn.h"
#include "kernels/quant/reduced_check.h"
#include "kernels/quant/reduced_layer.h"

namespace frcnn::kernels::cpu {
namespace {

using dnnl::memory;
using tag = memory::format_tag;

constexpr int kVnni = 0x67, kBf16 = 0xe7;  // bits of dnnl::cpu_isa, which grow from one to the next

bool has_all(int bits) {
  static const int isa = static_cast<int>(dnnl::get_effective_cpu_isa());
  return (isa & bits) == bits;
}

memory::data_type type_of(LayerNumber number) {
  switch (number) {
    case LayerNumber::f32:
      return memory::data_type::f32;
    case LayerNumber::bf16:
      return memory::data_type::bf16;
    case LayerNumber::u8:
      return memory::data_type::u8;
    case LayerNumber::i8:
      break;
  }
  return memory::data_type::s8;
}

memory::data_type weight_type(const LayerNumbers& numbers) {
  return is_integer(numbers.in) ? memory::data_type::s8 : memory::data_type::bf16;
}

/// `mask` tells which dimension of the output (2.x) or of the weights (3.x) the scales belong to.
dnnl::primitive_attr attributes(bool relu, const ChannelNumbers& channels, int output_mask,
                                int weight_mask) {
  dnnl::primitive_attr attr = onednn::attributes(relu);
  if (channels.scales.empty()) return attr;
#if DNNL_VERSION_MAJOR >= 3
  (void)output_mask;
  attr.set_scales_mask(DNNL_ARG_WEIGHTS, weight_mask);
#else
  (void)weight_mask;
  attr.set_output_scales(output_mask, {channels.scales.begin(), channels.scales.end()});
#endif
  return attr;
}

class OneDnnPlan final : public ReducedPlan {
 public:
  struct Descs {
    memory::desc x, w_plain, w, b, y;
  };

  template <typename Primitive, typename PrimitiveDesc>
  OneDnnPlan(const PrimitiveDesc& desc, const Descs& descs, const ChannelNumbers& channels,
             std::type_identity<Primitive> /*primitive*/)
      : descs_(descs),
        scratch_(desc.scratchpad_desc()),
        primitive_(Primitive(desc)),
        implementation_(desc.impl_info_str()),
        bias_(channels.offsets.begin(), channels.offsets.end()),
        scales_(channels.scales.begin(), channels.scales.end()) {
    descs_.w = desc.weights_desc();
    format_ = onednn::format_key(descs_.w);
#if DNNL_VERSION_MAJOR >= 3
    // 3.x adds the bias after the scales, 2.x before them.
    for (size_t o = 0; o < scales_.size(); ++o) bias_[o] *= scales_[o];
#endif
  }

  const std::string& weight_format() const override {
    return format_;
  }
  const std::string& implementation() const override {
    return implementation_;
  }
  size_t packed_weight_bytes() const override {
    return descs_.w.get_size();
  }
  size_t scratch_bytes() const override {
    return scratch_.get_size();
  }

  void pack_weights(const void* w, void* packed) const override {
    onednn::reorder(onednn::memory(descs_.w_plain, w), onednn::memory(descs_.w, packed));
  }

  void run(const void* x, const void* packed_w, void* y, void* scratch) const override {
    std::unordered_map<int, memory> arguments = {
        {DNNL_ARG_SRC, onednn::memory(descs_.x, x)},
        {DNNL_ARG_WEIGHTS, onednn::memory(descs_.w, packed_w)},
        {DNNL_ARG_BIAS, onednn::memory(descs_.b, bias_.data())},
        {DNNL_ARG_DST, onednn::memory(descs_.y, y)},
        {DNNL_ARG_SCRATCHPAD, onednn::memory(scratch_, scratch)}};
#if DNNL_VERSION_MAJOR >= 3
    if (!scales_.empty())
      arguments.emplace(
          DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS,
          onednn::memory({{static_cast<memory::dim>(scales_.size())}, onednn::f32(), tag::x},
                         scales_.data()));
#endif
    primitive_.execute(onednn::stream(), arguments);
    onednn::stream().wait();
  }

 private:
  Descs descs_;
  memory::desc scratch_;
  dnnl::primitive primitive_;
  std::string format_, implementation_;
  std::vector<float> bias_, scales_;
};

std::shared_ptr<const ReducedPlan> make_conv2d(const Conv2dParams& p, const LayerNumbers& numbers,
                                               const ChannelNumbers& channels) {
  memory::dims filter = {p.group_out(), p.group_in(), p.kernel_h, p.kernel_w};
  if (p.groups > 1) filter.insert(filter.begin(), p.groups);
  OneDnnPlan::Descs d;
  d.x = {{p.input.n, p.input.c, p.input.h, p.input.w}, type_of(numbers.in), tag::nhwc};
  d.w_plain = {filter, weight_type(numbers), p.groups > 1 ? tag::goihw : tag::oihw};
  d.w = {filter, weight_type(numbers), tag::any};
  d.b = {{p.out_channels}, onednn::f32(), tag::x};
  d.y = {{p.input.n, p.out_channels, p.out_h(), p.out_w()}, type_of(numbers.out), tag::nhwc};
  const memory::dims strides = {p.stride_h, p.stride_w}, pad = {p.pad_h, p.pad_w},
                     dilation = {p.dilation_h - 1, p.dilation_w - 1};  // cells left out
  const auto kind = dnnl::prop_kind::forward_inference;
  const auto algorithm = dnnl::algorithm::convolution_direct;
  const auto attr = attributes(p.relu, channels, 1 << 1, p.groups > 1 ? 3 : 1);
#if DNNL_VERSION_MAJOR >= 3
  const dnnl::convolution_forward::primitive_desc desc(onednn::engine(), kind, algorithm, d.x, d.w,
                                                       d.b, d.y, strides, dilation, pad, pad, attr);
#else
  const dnnl::convolution_forward::primitive_desc desc(
      {kind, algorithm, d.x, d.w, d.b, d.y, strides, dilation, pad, pad}, attr, onednn::engine());
#endif
  return std::make_shared<OneDnnPlan>(desc, d, channels,
                                      std::type_identity<dnnl::convolution_forward>());
}

std::shared_ptr<const ReducedPlan> make_linear(const LinearParams& p, const LayerNumbers& numbers,
                                               const ChannelNumbers& channels) {
  OneDnnPlan::Descs d;
  d.x = {{p.rows, p.in}, type_of(numbers.in), tag::ab};
  d.w_plain = {{p.in, p.out}, weight_type(numbers), tag::ba};  // (out, in) in memory
  d.w = {{p.in, p.out}, weight_type(numbers), tag::any};
  d.b = {{1, p.out}, onednn::f32(), tag::ab};
  d.y = {{p.rows, p.out}, type_of(numbers.out), tag::ab};
  const auto attr = attributes(p.relu, channels, 1 << 1, 1 << 1);
#if DNNL_VERSION_MAJOR >= 3
  const dnnl::matmul::primitive_desc desc(onednn::engine(), d.x, d.w, d.b, d.y, attr);
#else
  const dnnl::matmul::primitive_desc desc({d.x, d.w, d.b, d.y}, attr, onednn::engine());
#endif
  return std::make_shared<OneDnnPlan>(desc, d, channels, std::type_identity<dnnl::matmul>());
}

}  // namespace

bool has_int8() {
  return has_all(kVnni);
}
bool has_bf16() {
  return has_all(kBf16);
}
int int8_weight_limit() {
  return has_int8() ? 127 : 63;
}

std::shared_ptr<const ReducedPlan> reduced_conv2d_plan(const Conv2dParams& p,
                                                       const LayerNumbers& numbers,
                                                       const ChannelNumbers& channels) {
  check_conv2d("reduced_conv2d", p);
  check(p.input.n > 0, "[reduced_conv2d] a batch without images has no plan");
  check_reduced("reduced_conv2d", numbers, channels, p.group_in() * p.kernel_h * p.kernel_w,
                p.out_channels);
  try {
    return make_conv2d(p, numbers, channels);
  } catch (const dnnl::error& e) {
    fail("[reduced_conv2d] oneDNN cannot do {}x{}x{}x{} to {} channels with a {}x{} kernel: {}",
         p.input.n, p.input.c, p.input.h, p.input.w, p.out_channels, p.kernel_h, p.kernel_w,
         e.message);
  }
}

std::shared_ptr<const ReducedPlan> reduced_linear_plan(const LinearParams& p,
                                                       const LayerNumbers& numbers,
                                                       const ChannelNumbers& channels) {
  check(p.rows > 0 && p.in > 0 && p.out > 0,
        "[reduced_linear] expected positive sizes, got {} rows of {} to {}", p.rows, p.in, p.out);
  check_reduced("reduced_linear", numbers, channels, p.in, p.out);
  try {
    return make_linear(p, numbers, channels);
  } catch (const dnnl::error& e) {
    fail("[reduced_linear] oneDNN cannot do {} rows of {} to {}: {}", p.rows, p.in, p.out,
         e.message);
  }
}

}  // namespace frcnn::kernels::cpu
