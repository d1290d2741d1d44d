#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/launch/check.h"
#include "kernels/launch/vendor.h"
#include "kernels/linear/linear.h"
#include "tests/gpu/gpu_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;
using Version = LinearVersion;

namespace {

template <typename T>
std::vector<T> cast(const std::vector<double>& from) {
  std::vector<T> to(from.size());
  for (size_t i = 0; i < from.size(); ++i) {
    if constexpr (std::is_same_v<T, Bfloat16>) {
      to[i] = Bfloat16(static_cast<float>(from[i]));
    } else {
      to[i] = static_cast<T>(from[i]);
    }
  }
  return to;
}
template <typename T>
std::vector<double> widen(const std::vector<T>& from) {
  std::vector<double> to(from.size());
  for (size_t i = 0; i < from.size(); ++i)
    if constexpr (std::is_same_v<T, Bfloat16>) {
      to[i] = static_cast<float>(from[i]);
    } else {
      to[i] = from[i];
    }
  return to;
}

/// A backend that this program has, for what needs no device.
#if FRCNN_HAVE_EMULATION
constexpr Backend kAny = Backend::emulated;
#else
constexpr Backend kAny = Backend::cuda;
#endif

/// The factor that a version multiplies with: rounded to tf32 or bfloat16, or as it is.
double factor(double value, Version version) {
  const auto v = static_cast<float>(value);
  if (version == Version::mma_bf16 || version == Version::cublaslt_bf16)
    return static_cast<float>(Bfloat16(v));
  if (version != Version::mma_tf32) return value;
  uint32_t bits = 0;
  std::memcpy(&bits, &v, sizeof bits);
  bits = (bits + 0x1000u) & 0xFFFFE000u;
  float rounded = 0;
  std::memcpy(&rounded, &bits, sizeof bits);
  return rounded;
}

/// One dense layer with the results that a version should give, in double.
struct Expected {
  std::vector<double> y, dx, dw, db;
};
Expected expected(const LinearParams& p, Version version, std::vector<double> x,
                  std::vector<double> w, const std::vector<double>& b, std::vector<double> dy) {
  Expected e;
  e.y.resize(dy.size()), e.dx.resize(x.size()), e.dw.resize(w.size()), e.db.resize(b.size());
  std::vector<double> unused(w.size());
  cpu::linear_backward_weights_reference(p, x.data(), dy.data(), unused.data(), e.db.data());
  for (auto* values : {&x, &w, &dy})
    for (double& value : *values) value = factor(value, version);
  cpu::linear_forward_reference(p, x.data(), w.data(), p.bias ? b.data() : nullptr, e.y.data());
  cpu::linear_backward_data_reference(p, dy.data(), w.data(), e.dx.data());
  cpu::linear_backward_weights_reference(p, x.data(), dy.data(), e.dw.data(), unused.data());
  return e;
}

struct Results {
  std::vector<double> y, dx, dw, db;
  bool operator==(const Results&) const = default;
};

template <Backend B, typename T, typename Out>
Results run(const LinearParams& p, Version version, const std::vector<T>& x,
            const std::vector<T>& w, const std::vector<gpu::LinearSum<T>>& b,
            const std::vector<T>& dy) {
  using Sum = gpu::LinearSum<T>;
  const DeviceArray<B, T> dev_x(x), dev_w(w), dev_dy(dy);
  const DeviceArray<B, Sum> dev_b(b), dw(w.size()), db(b.size());
  const DeviceArray<B, Out> y(dy.size()), dx(x.size());
  const auto workspace = [&](LayerPass pass) {
    return DeviceArray<B, float>(gpu::linear_workspace<B, T>(p, pass, version) / sizeof(float));
  };
  {
    const auto work = workspace(LayerPass::forward_training);
    gpu::linear_forward<B, T, Out>(nullptr, p, dev_x.data(), dev_w.data(),
                                   p.bias ? dev_b.data() : nullptr, y.data(), work.data(), version);
    CHECK(work.host().size() == work.size());  // checks the guards
  }
  {
    const auto work = workspace(LayerPass::backward_data);
    gpu::linear_backward_data<B, T, Out>(nullptr, p, dev_dy.data(), dev_w.data(), dx.data(),
                                         work.data(), version);
    CHECK(work.host().size() == work.size());
  }
  {
    const auto work = workspace(LayerPass::backward_weights);
    gpu::linear_backward_weights<B, T>(nullptr, p, dev_x.data(), dev_dy.data(), dw.data(),
                                       db.data(), work.data(), version);
    CHECK(work.host().size() == work.size());
  }
  return {widen(y.host()), widen(dx.host()), widen(dw.host()), widen(db.host())};
}

/// |actual - expected| <= 1e-6 * depth^0.5 * terms of about 1/3 each: float32 sums; bfloat16
/// results are rounded to 8 bits besides. How cuBLASLt rounds to tf32 is its own business; it
/// rounds the bias of bfloat16 results, too.
template <typename Out>
void check_close(const std::vector<double>& actual, const std::vector<double>& wanted,
                 int64_t depth, Version version) {
  const bool is_double = std::is_same_v<Out, double>, is_short = std::is_same_v<Out, Bfloat16>;
  double term = is_double ? 1e-14 : 1e-6;
  if (version == Version::cublaslt_tf32) term = 1e-3;
  if (version == Version::cublaslt_bf16 && is_short) term = 4e-3;
  FRCNN_CHECK_SAME(actual, wanted,
                   is_double  ? 1e-13
                   : is_short ? 0.004
                              : 1e-6,
                   term * std::sqrt(static_cast<double>(depth) + 1));
}

/// Whether this machine can run a version.
template <Backend B>
bool runs(Version version) {
  const auto& entry = kLinearVersions[static_cast<int>(version)];
  if (B == Backend::emulated) return entry.emulated;
  if (version >= Version::cublaslt_f32 &&
      !gpu::vendor_library(gpu::VendorLibrary::cublaslt).available())
    return false;
  return entry.capability <= gpu::device_info<B>().compute_capability;
}

/// Every version that takes T, all passes, against the double reference.
template <typename T, typename Out>
void check_layer(const LinearParams& p) {
  using Sum = gpu::LinearSum<T>;
  INFO(p.rows << " rows, " << p.in << " to " << p.out << (p.bias ? ", bias" : "")
              << (p.relu ? ", ReLU" : ""));
  const auto size = [](int64_t a, int64_t b) { return static_cast<size_t>(a * b); };
  const auto x = cast<T>(random_vector<double>(size(p.rows, p.in), -1, 1, 1));
  const auto w = cast<T>(random_vector<double>(size(p.out, p.in), -1, 1, 2));
  const auto b = cast<Sum>(random_vector<double>(size(p.out, 1), -1, 1, 3));
  const auto dy = cast<T>(random_vector<double>(size(p.rows, p.out), -1, 1, 4));
  for (size_t v = 0; v < std::size(kLinearVersions); ++v) {
    const auto version = static_cast<Version>(v);
    if (!gpu::linear_supports<T>(version)) continue;
    INFO(kLinearVersions[v].name);
    const Expected e = expected(p, version, widen(x), widen(w), widen(b), widen(dy));
    Results first;
    bool again = false;
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      if (!runs<B>(version)) return;
      const Results r = run<B, T, Out>(p, version, x, w, b, dy);
      check_close<Out>(r.y, e.y, p.in, version);
      check_close<Out>(r.dx, e.dx, p.out, version);
      check_close<Sum>(r.dw, e.dw, p.rows, version);
      check_close<Sum>(r.db, e.db, p.rows, version);
      if (B == Backend::emulated) {
        if (again) CHECK(r == first);  // the same bits, whatever the order of threads
        first = r;
        again = true;
      }
    });
  }
}

}  // namespace

TEST_CASE("GPU linear: every version equals the CPU's, all passes, tails of every kind") {
  check_layer<float, float>({1, 1, 1, true, true});
  check_layer<float, float>({5, 7, 3, true, false});
  check_layer<float, float>({33, 17, 21, false, true});
  check_layer<float, float>({130, 20, 132, true, true});   // tails after a whole tile, rows aligned
  check_layer<float, float>({129, 35, 131, true, false});  // the same, rows not aligned
}
TEST_CASE("GPU linear: random sizes") {
  const auto random = random_vector<double>(18, 0, 1, 8);
  const auto size = [&](size_t i) { return 1 + static_cast<int64_t>(random[i] * 90); };
  for (size_t i = 0; i < random.size(); i += 3)
    check_layer<float, float>({size(i), size(i + 1), size(i + 2), i % 2 == 0, i % 4 == 0});
}
TEST_CASE("GPU linear: bfloat16 factors, results in float or bfloat16") {
  check_layer<Bfloat16, float>({1, 1, 1, true, true});
  check_layer<Bfloat16, float>({33, 17, 21, true, false});
  check_layer<Bfloat16, Bfloat16>({130, 40, 136, true, true});
  check_layer<Bfloat16, float>({129, 35, 131, true, false});
}
TEST_CASE("GPU linear: double") {
  check_layer<double, double>({1, 1, 1, true, true});
  check_layer<double, double>({19, 33, 21, true, true});
}

TEST_CASE("GPU linear: skinny products are split, each pass along its own depth") {
  const auto parts = [](const LinearParams& p, LayerPass pass) {
    return gpu::linear_workspace<kAny, float>(p, pass, Version::mma_tf32);
  };
  CHECK(parts({9, 1000, 5}, LayerPass::forward_training) == 3 * 9 * 5 * 4);
  CHECK(parts({9, 5, 1000}, LayerPass::backward_data) == 3 * 9 * 5 * 4);
  CHECK(parts({1000, 9, 5}, LayerPass::backward_weights) == 3 * 9 * 5 * 4);
  CHECK(parts({2000, 300, 2000}, LayerPass::forward_training) == 0);
  // The first dense layer of VGG-16 with the rows of one image: 8 x 32 blocks instead of 32.
  CHECK(parts({128, 25088, 4096}, LayerPass::forward_training) == 8 * 128 * 4096 * 4);
  CHECK(gpu::linear_workspace<kAny, float>({9, 1000, 5}, LayerPass::forward_training,
                                           Version::registers) == 0);
  check_layer<float, float>({9, 1000, 5, true, true});
  check_layer<float, float>({1030, 6, 12, true, false});
  check_layer<float, float>({3, 11, 770, true, false});
  check_layer<Bfloat16, Bfloat16>({9, 600, 24, true, true});
}

TEST_CASE("GPU linear: more tile rows than a group of the L2 order holds") {
  check_layer<float, float>({16 * 17 + 5, 3, 40, true, true});
}

TEST_CASE("GPU linear: empty layers") {
  check_layer<float, float>({0, 20, 7, true, true});
  check_layer<float, float>({4, 0, 7, true, true});  // y is the bias
  check_layer<float, float>({4, 20, 0, true, true});
  check_layer<Bfloat16, Bfloat16>({4, 0, 7, true, false});
}

TEST_CASE("GPU linear: NaN and infinities carry through, and stay in their row") {
  const LinearParams p{130, 36, 24, true, true};
  std::vector<float> x(static_cast<size_t>(p.rows * p.in), 1),
      w(static_cast<size_t>(p.in * p.out), 1), b(static_cast<size_t>(p.out), 0);
  x[static_cast<size_t>(3 * p.in + 35)] = std::numeric_limits<float>::quiet_NaN();
  x[static_cast<size_t>(129 * p.in)] = std::numeric_limits<float>::infinity();
  x[static_cast<size_t>(7 * p.in + 1)] = -std::numeric_limits<float>::infinity();
  std::vector<float> y(static_cast<size_t>(p.rows * p.out));
  cpu::linear_forward_reference(p, x.data(), w.data(), b.data(), y.data());
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const DeviceArray<B, float> dx(x), dw(w), db(b), dev_y(y.size());
    for (size_t v = 0; v < std::size(kLinearVersions); ++v) {
      if (!kLinearVersions[v].emulated) continue;
      INFO(kLinearVersions[v].name);
      gpu::linear_forward<B, float>(nullptr, p, dx.data(), dw.data(), db.data(), dev_y.data(),
                                    nullptr, static_cast<Version>(v));
      FRCNN_CHECK_SAME(dev_y.host(), y, 0, 0, true);
    }
  });
}

TEST_CASE("GPU linear: arrays that do not begin at multiples of 16 bytes") {
  const LinearParams p{40, 24, 32, true, false};
  const auto size = [](int64_t count) { return static_cast<size_t>(count); };
  const auto x = random_vector<float>(size(p.rows * p.in) + 1, -1, 1, 5);
  const auto w = random_vector<float>(size(p.in * p.out) + 1, -1, 1, 6);
  const auto b = random_vector<float>(size(p.out), -1, 1, 7);
  for (const auto version : {Version::split_k, Version::mma_tf32, Version::mma_bf16}) {
    INFO(kLinearVersions[static_cast<int>(version)].name);
    const auto wide = [](const std::vector<float>& v) {
      return std::vector<double>(v.begin() + 1, v.end());
    };
    const std::vector<double> dy(size(p.rows * p.out));
    const Expected e = expected(p, version, wide(x), wide(w), {b.begin(), b.end()}, dy);
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      const DeviceArray<B, float> dx(x), dw(w), db(b), y(dy.size() + 1);
      gpu::linear_forward<B, float>(nullptr, p, dx.data() + 1, dw.data() + 1, db.data(),
                                    y.data() + 1, nullptr, version);
      auto result = widen(y.host());
      CHECK(std::isnan(result.front()));
      result.erase(result.begin());
      check_close<float>(result, e.y, p.in, version);
    });
  }
}

TEST_CASE("GPU linear: versions refuse factors that they cannot take") {
  constexpr Backend B = kAny;
  const LinearParams p{1, 1, 1};
  CHECK_THROWS_WITH(
      (gpu::linear_workspace<B, double>(p, LayerPass::forward_training, Version::mma_tf32)),
      mentions("[linear] the version mma_tf32 does not take double factors"));
  CHECK_THROWS_WITH((gpu::linear_forward<B, Bfloat16, float>(nullptr, p, nullptr, nullptr, nullptr,
                                                             nullptr, nullptr, Version::registers)),
                    mentions("[linear] the version registers does not take bfloat16 factors"));
  CHECK_THROWS_WITH(
      (gpu::linear_forward<B, float, float>(nullptr, {9, 1000, 5}, nullptr, nullptr, nullptr,
                                            nullptr, nullptr, Version::mma_tf32)),
      mentions("needs its workspace"));
#if FRCNN_HAVE_EMULATION
  CHECK_THROWS_WITH((gpu::linear_forward<B, float, float>(nullptr, p, nullptr, nullptr, nullptr,
                                                          nullptr, nullptr, Version::cublaslt_f32)),
                    mentions("cuBLASLt is not available under emulation"));
#endif
}

TEST_CASE("GPU linear: a split product in a recorded graph takes the present factors") {
  const LinearParams p{5, 600, 7, true, true};
  const auto size = [](int64_t a, int64_t b) { return static_cast<size_t>(a * b); };
  const auto x = random_vector<float>(size(p.rows, p.in), -1, 1, 9);
  const auto w = random_vector<float>(size(p.out, p.in), -1, 1, 10);
  const auto b = random_vector<float>(size(p.out, 1), -1, 1, 11);
  std::vector<float> y(size(p.rows, p.out));
  cpu::linear_forward_reference(p, x.data(), w.data(), b.data(), y.data());
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const DeviceArray<B, float> dx(std::vector<float>(x.size(), 0.0f)), dw(w), db(b), dy(y.size());
    const DeviceArray<B, float> work(
        gpu::linear_workspace<B, float>(p, LayerPass::forward_training) / sizeof(float));
    REQUIRE(work.size() == 2 * y.size());
    const gpu::Stream stream = gpu::create_stream<B>();
    gpu::synchronize<B>(nullptr);
    const gpu::Graph<B> graph(stream, [&] {
      gpu::linear_forward<B, float>(stream, p, dx.data(), dw.data(), db.data(), dy.data(),
                                    work.data());
    });
    gpu::copy_to_device<B>(stream, dx.data(), x.data(), x.size() * sizeof(float));
    graph.replay(stream);
    gpu::synchronize<B>(stream);
    FRCNN_CHECK_SAME(dy.host(), y, 1e-5, 2e-5);
    gpu::destroy_stream<B>(stream);
  });
}
