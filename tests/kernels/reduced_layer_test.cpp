#include "kernels/quant/reduced_layer.h"

#include "kernels/elementwise/round_factors.h"
#include "kernels/launch/bfloat16.h"
#include "kernels/launch/check.h"
#include "kernels/quant/quantize.h"
#include "tests/kernels/map_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

/// Whole numbers from low to high, both included.
template <typename T>
std::vector<T> integers(int64_t count, int low, int high, uint64_t seed) {
  std::vector<T> values;
  for (const double v : random_vector<double>(static_cast<size_t>(count), low, high + 1, seed))
    values.push_back(static_cast<T>(std::min<double>(std::floor(v), high)));
  return values;
}

std::vector<uint8_t> input_of(LayerNumber number, int64_t count, uint64_t seed) {
  if (number == LayerNumber::u8) return integers<uint8_t>(count, 0, 255, seed);
  const auto values = integers<int8_t>(count, -127, 127, seed);
  return {reinterpret_cast<const uint8_t*>(values.data()),
          reinterpret_cast<const uint8_t*>(values.data()) + count};
}

/// Stored numbers as float.
std::vector<float> numbers(LayerNumber number, const std::vector<uint8_t>& bytes) {
  std::vector<float> values;
  for (size_t i = 0; i < bytes.size(); i += static_cast<size_t>(bytes_of(number))) {
    if (number == LayerNumber::f32) {
      float value;
      std::memcpy(&value, &bytes[i], sizeof value);
      values.push_back(value);
    } else if (number == LayerNumber::u8) {
      values.push_back(bytes[i]);
    } else {
      values.push_back(static_cast<int8_t>(bytes[i]));
    }
  }
  return values;
}

std::vector<uint8_t> run(const cpu::ReducedPlan& plan, const void* x, const void* w,
                         int64_t bytes) {
  std::vector<float> packed(plan.packed_weight_bytes() / 4 + 16),
      scratch(plan.scratch_bytes() / 4 + 16);
  plan.pack_weights(w, packed.data());
  std::vector<uint8_t> y(static_cast<size_t>(bytes), 0xAB);
  plan.run(x, packed.data(), y.data(), scratch.data());
  return y;
}

/// Integers may differ by one where a value lies near the middle of two.
void check_same(LayerNumber number, const std::vector<uint8_t>& actual,
                const std::vector<uint8_t>& expected) {
  const auto a = numbers(number, actual), e = numbers(number, expected);
  if (number == LayerNumber::f32) {
    FRCNN_CHECK_SAME(a, e, 1e-6, 1e-5);
    return;
  }
  FRCNN_CHECK_SAME(a, e, 0, 1);
  int64_t different = 0;
  for (size_t i = 0; i < a.size(); ++i) different += a[i] != e[i];
  CHECK(different * 1000 <= static_cast<int64_t>(a.size()));
}

struct Channels {
  std::vector<float> scales, offsets;
  /// Scales so that outputs of `inputs` products use what 8 bits hold; one of them is negative, as
  /// a batch norm may make it.
  Channels(int64_t outputs, int64_t inputs, LayerNumber out, uint64_t seed) {
    const double typical = std::sqrt(static_cast<double>(inputs)) * 147 * 73;
    const double wanted = out == LayerNumber::f32 ? 1 : 60;
    scales = random_vector<float>(static_cast<size_t>(outputs), 0.5 * wanted / typical,
                                  1.5 * wanted / typical, seed);
    scales.front() *= -1;
    offsets = random_vector<float>(static_cast<size_t>(outputs), -typical, typical, seed + 1);
  }
  ChannelNumbers view() const { return {scales, offsets}; }
};

}  // namespace

TEST_CASE("8-bit convolutions equal the integer reference") {
  struct Case {
    int64_t n, c, h, w, out;
    int kernel, stride, pad, groups, dilation;
  };
  for (const Case& k : {Case{1, 64, 13, 17, 64, 3, 1, 1, 1, 1},
                        {1, 3, 20, 24, 16, 7, 2, 3, 1, 1},
                        {2, 24, 9, 11, 32, 3, 2, 1, 1, 1},
                        {1, 20, 6, 5, 9, 1, 1, 0, 1, 1},
                        {1, 96, 14, 14, 40, 5, 2, 2, 1, 1},
                        {1, 32, 10, 10, 32, 3, 1, 1, 32, 1},
                        {1, 16, 12, 12, 16, 3, 1, 2, 1, 2}})
    for (const LayerNumber in : {LayerNumber::u8, LayerNumber::i8})
      for (const LayerNumber out : {LayerNumber::u8, LayerNumber::i8, LayerNumber::f32})
        for (const bool relu : {false, true}) {
          if (in == LayerNumber::i8 && !cpu::has_int8()) continue;  // oneDNN halves the weights
          Conv2dParams p;
          p.input = {k.n, k.c, k.h, k.w, k.c};
          p.out_channels = p.out_block = k.out;
          p.kernel_h = p.kernel_w = k.kernel;
          p.stride_h = p.stride_w = k.stride;
          p.pad_h = p.pad_w = k.pad;
          p.groups = k.groups;
          p.dilation_h = p.dilation_w = k.dilation;
          p.relu = relu;
          const int limit = cpu::int8_weight_limit();
          INFO(k.c << " to " << k.out << " kernel " << k.kernel << " groups " << k.groups << " in "
                   << int(in) << " out " << int(out) << " relu " << relu);
          const auto x = input_of(in, p.input.size(), 1);
          const auto w = integers<int8_t>(p.weight_size(), -limit, limit, 2);
          const Channels channels(k.out, p.weight_size() / k.out, out, 3);
          const int64_t bytes = p.output().size() * bytes_of(out);
          std::vector<uint8_t> expected(static_cast<size_t>(bytes));
          cpu::int8_conv2d_reference(p, {in, out}, channels.view(), x.data(), w.data(),
                                     expected.data());
          const auto plan = cpu::reduced_conv2d_plan(p, {in, out}, channels.view());
          INFO(plan->implementation());
          check_same(out, run(*plan, x.data(), w.data(), bytes), expected);
        }
}

TEST_CASE("8-bit dense layers equal the integer reference") {
  for (const auto& [rows, in_count, out_count] :
       {std::tuple<int64_t, int64_t, int64_t>{1, 7, 5}, {33, 250, 64}, {60, 3000, 84}})
    for (const LayerNumber in : {LayerNumber::u8, LayerNumber::i8})
      for (const LayerNumber out : {LayerNumber::u8, LayerNumber::f32}) {
        const LinearParams p{rows, in_count, out_count, true, out == LayerNumber::u8};
        INFO(rows << " x " << in_count << " to " << out_count << " in " << int(in));
        const int limit = cpu::int8_weight_limit();
        const auto x = input_of(in, rows * in_count, 1);
        const auto w = integers<int8_t>(in_count * out_count, -limit, limit, 2);
        const Channels channels(out_count, in_count, out, 3);
        const int64_t bytes = rows * out_count * bytes_of(out);
        std::vector<uint8_t> expected(static_cast<size_t>(bytes));
        cpu::int8_linear_reference(p, {in, out}, channels.view(), x.data(), w.data(),
                                   expected.data());
        const auto plan = cpu::reduced_linear_plan(p, {in, out}, channels.view());
        INFO(plan->implementation());
        check_same(out, run(*plan, x.data(), w.data(), bytes), expected);
      }
}

TEST_CASE("8-bit sums do not saturate at the largest inputs and allowed weights") {
  Conv2dParams p;
  p.input = {1, 64, 8, 8, 64};
  p.out_channels = p.out_block = 16;
  p.pad_h = p.pad_w = 1;
  const std::vector<uint8_t> x(static_cast<size_t>(p.input.size()), 255);
  const std::vector<int8_t> w(static_cast<size_t>(p.weight_size()),
                              static_cast<int8_t>(cpu::int8_weight_limit()));
  const std::vector<float> scales(16, 1), offsets(16, 0);
  const int64_t bytes = p.output().size() * 4;
  std::vector<uint8_t> expected(static_cast<size_t>(bytes));
  const LayerNumbers types{LayerNumber::u8, LayerNumber::f32};
  cpu::int8_conv2d_reference(p, types, {scales, offsets}, x.data(), w.data(), expected.data());
  const auto plan = cpu::reduced_conv2d_plan(p, types, {scales, offsets});
  const auto y = run(*plan, x.data(), w.data(), bytes);
  FRCNN_CHECK_SAME(numbers(LayerNumber::f32, y), numbers(LayerNumber::f32, expected), 0, 0);
  const LinearParams dense{4, 512, 16, true, false};
  const auto product = cpu::reduced_linear_plan(dense, types, {scales, offsets});
  const auto rows = run(*product, x.data(), w.data(), 4 * 16 * 4);
  const std::vector<float> sums(64, 512.0f * 255 * static_cast<float>(cpu::int8_weight_limit()));
  FRCNN_CHECK_SAME(numbers(LayerNumber::f32, rows), sums, 0, 0);
}

TEST_CASE("bf16 convolutions equal float32 ones on rounded factors") {
  if (!cpu::has_bf16()) return;
  Conv2dParams p;
  p.input = {1, 32, 9, 12, 32};
  p.out_channels = p.out_block = 48;
  p.pad_h = p.pad_w = 1;
  p.relu = true;
  auto x = random_vector<float>(static_cast<size_t>(p.input.size()), -1, 1, 1);
  auto w = random_vector<float>(static_cast<size_t>(p.weight_size()), -1, 1, 2);
  const auto b = random_vector<float>(48, -1, 1, 3);
  for (auto* values : {&x, &w})
    cpu::round_factors(static_cast<int64_t>(values->size()), FactorRounding::bf16, values->data(),
                       values->data());
  std::vector<float> expected(static_cast<size_t>(p.output().size()));
  cpu::conv2d_forward_reference(p, x.data(), w.data(), b.data(), expected.data());
  std::vector<Bfloat16> bx(x.begin(), x.end()), bw(w.begin(), w.end());
  const auto plan = cpu::reduced_conv2d_plan(p, {LayerNumber::bf16, LayerNumber::f32}, {{}, b});
  const auto y = run(*plan, bx.data(), bw.data(), p.output().size() * 4);
  FRCNN_CHECK_SAME(numbers(LayerNumber::f32, y), expected, 1e-5, 1e-5);
}

TEST_CASE("maps are quantised from every layout to NHWC, ties to even, clamped") {
  const std::vector<int64_t> shape = {2, 20, 3, 5};
  auto plain = random_vector<float>(600, -3, 3, 7);
  plain[0] = 0.25f, plain[1] = 0.75f, plain[2] = 1e9f, plain[3] = -1e9f;
  plain[4] = std::numeric_limits<float>::quiet_NaN();
  for (const MapLayout& layout : layouts_of(shape)) {
    INFO("block " << layout.block);
    const auto x = blocked<float>(layout, plain);
    const MapLayout nhwc{2, 20, 3, 5, 20};
    std::vector<uint8_t> u8(600);
    std::vector<int8_t> i8(600);
    std::vector<Bfloat16> bf16(600);
    cpu::quantize_map(layout, x.data(), 0.5f, LayerNumber::u8, u8.data());
    cpu::quantize_map(layout, x.data(), 0.03125f, LayerNumber::i8, i8.data());
    cpu::quantize_map(layout, x.data(), 0, LayerNumber::bf16, bf16.data());
    for_elements(nhwc, [&](size_t at, size_t i) {
      const float v = plain[i];
      if (std::isnan(v)) {
        CHECK((u8[at] == 0 && i8[at] == -127 && std::isnan(static_cast<float>(bf16[at]))));
        return;
      }
      CHECK(u8[at] == std::nearbyint(std::clamp(v * 2, 0.0f, 255.0f)));
      CHECK(i8[at] == std::nearbyint(std::clamp(v * 32, -127.0f, 127.0f)));
      CHECK(bf16[at].bits == Bfloat16(v).bits);
    });
  }
  std::vector<uint8_t> y(600);
  CHECK_THROWS_WITH(cpu::quantize_map({2, 20, 3, 5, 1}, plain.data(), 0, LayerNumber::u8, y.data()),
                    Catch::Contains("expected a scale above 0"));
}

TEST_CASE("weights are quantised per output and come back within half a step") {
  auto w = random_vector<float>(5 * 40, -1, 1, 9);
  for (size_t i = 0; i < 40; ++i) w[i] = 0;        // a channel of zeros
  for (size_t i = 40; i < 80; ++i) w[i] *= 1e-4f;  // a weak one
  std::vector<int8_t> values(w.size());
  std::vector<float> scales(5), back(w.size());
  cpu::quantize_weights(5, 40, w.data(), values.data(), scales.data());
  cpu::dequantize_weights(5, 40, values.data(), scales.data(), back.data());
  CHECK(scales[0] == 1);
  for (size_t o = 0; o < 5; ++o) {
    int most = 0;
    for (size_t i = o * 40; i < (o + 1) * 40; ++i) {
      CHECK(std::abs(w[i] - back[i]) <= 0.50001f * scales[o]);
      most = std::max(most, std::abs(int{values[i]}));
    }
    CHECK(most == (o == 0 ? 0 : 127));
  }
  w[7] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH(cpu::quantize_weights(5, 40, w.data(), values.data(), scales.data()),
                    Catch::Contains("not finite"));
}

TEST_CASE("max pooling of quantised maps is the quantised max pooling") {
  for (const MaxPoolParams& params : {MaxPoolParams::square(2, 2), MaxPoolParams::square(3, 2, 1),
                                      MaxPoolParams::square(3, 2, 0, true)}) {
    const MapLayout layout{2, 20, 7, 9, 20};
    const MapLayout out = max_pool_layout(layout, params);
    const auto x = random_vector<float>(static_cast<size_t>(layout.size()), 0, 4, 11);
    std::vector<float> y(static_cast<size_t>(out.size()));
    cpu::max_pool_forward<float>(layout, params, x.data(), y.data(), nullptr);
    for (const LayerNumber number : {LayerNumber::u8, LayerNumber::i8, LayerNumber::bf16}) {
      const auto bytes = static_cast<size_t>(bytes_of(number));
      std::vector<uint8_t> q(x.size() * bytes), pooled(y.size() * bytes), expected(pooled.size());
      cpu::quantize_map(layout, x.data(), 0.03f, number, q.data());
      cpu::quantize_map(out, y.data(), 0.03f, number, expected.data());
      cpu::max_pool_numbers(layout, params, number, q.data(), pooled.data());
      CHECK(pooled == expected);
    }
  }
}

TEST_CASE("reduced layers refuse what they cannot do") {
  const std::vector<float> two(2, 1), three(3, 1);
  const LinearParams p{1, 70000, 2, true, false};
  CHECK_THROWS_WITH(cpu::reduced_linear_plan(p, {LayerNumber::u8, LayerNumber::f32}, {two, two}),
                    Catch::Contains("70000 inputs"));
  CHECK_THROWS_WITH(
      cpu::reduced_linear_plan({1, 7, 2}, {LayerNumber::u8, LayerNumber::f32}, {two, three}),
      Catch::Contains("expected 2 scales and 2 offsets, got 2 and 3"));
  CHECK_THROWS_WITH(
      cpu::reduced_linear_plan({1, 7, 2}, {LayerNumber::u8, LayerNumber::bf16}, {two, two}),
      Catch::Contains("different kinds"));
}
