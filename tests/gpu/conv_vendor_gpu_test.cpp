// The convolution by NVIDIA's libraries: cuDNN where there is a GPU; im2col with cuBLAS there, and
// under emulation with a plain product in cuBLAS's place.
#include "kernels/conv/conv2d_vendor.h"
#include "kernels/launch/check.h"
#include "tests/gpu/gpu_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;
using gpu::VendorMath;

namespace {

size_t size(int64_t count) {
  return static_cast<size_t>(count);
}
template <typename T>
std::vector<T> cast(const std::vector<float>& from) {
  std::vector<T> to(from.size());
  for (size_t i = 0; i < from.size(); ++i) to[i] = static_cast<T>(from[i]);
  return to;
}
template <typename T>
std::vector<double> widen(const std::vector<T>& from) {
  std::vector<double> to(from.size());
  for (size_t i = 0; i < from.size(); ++i) to[i] = static_cast<double>(static_cast<float>(from[i]));
  return to;
}
/// Random numbers, all of them of bfloat16, so that no version rounds its factors.
std::vector<float> numbers(int64_t count, uint64_t seed) {
  auto values = random_vector<float>(size(count), -1, 1, seed);
  for (float& value : values) value = static_cast<float>(Bfloat16(value));
  return values;
}

struct Case {
  Conv2dParams p;
  std::vector<float> x, w, b, dy;

  explicit Case(const Conv2dParams& params) : p(params) {
    x = numbers(p.input.size(), 1), w = numbers(p.weight_size(), 2);
    b = numbers(p.out_channels, 3), dy = numbers(p.output().size(), 4);
  }
};

struct Results {
  std::vector<double> y, dx, dw, db;
};
Results expected(const Case& c) {
  Results r;
  const auto wide = [](const std::vector<float>& v) {
    return std::vector<double>(v.begin(), v.end());
  };
  const auto x = wide(c.x), w = wide(c.w), b = wide(c.b), dy = wide(c.dy);
  r.y.resize(dy.size()), r.dx.resize(x.size()), r.dw.resize(w.size()), r.db.resize(b.size());
  cpu::conv2d_forward_reference(c.p, x.data(), w.data(), c.p.bias ? b.data() : nullptr, r.y.data());
  cpu::conv2d_backward_data_reference(c.p, dy.data(), w.data(), r.dx.data());
  cpu::conv2d_backward_weights_reference(c.p, x.data(), dy.data(), r.dw.data(), r.db.data());
  return r;
}

constexpr LayerPass kPasses[] = {LayerPass::forward_training, LayerPass::backward_data,
                                 LayerPass::backward_weights};

/// Passes of one library, whose functions `library` calls; results of others are empty.
template <Backend B, typename T, typename Library>
Results run(const Case& c, VendorMath math, const Library& library,
            const std::vector<LayerPass>& passes = {std::begin(kPasses), std::end(kPasses)}) {
  const DeviceArray<B, T> x(cast<T>(c.x)), dy(cast<T>(c.dy)), y(c.dy.size()), dx(c.x.size());
  const DeviceArray<B, float> w(c.w), b(c.b), dw(c.w.size()), db(c.b.size());
  const DeviceArray<B, unsigned char> packed(gpu::conv2d_packed_bytes_vendor(c.p, math));
  const void* weights = w.data();
  if (packed.size() > 0) {
    gpu::conv2d_pack_weights_vendor<B>(nullptr, c.p, w.data(), packed.data(), math);
    weights = packed.data();
  }
  const float* bias = c.p.bias ? b.data() : nullptr;
  Results results;
  for (const LayerPass pass : passes) {
    const DeviceArray<B, float> work(library.template workspace<B, T>(c.p, pass) / sizeof(float));
    if (pass == LayerPass::forward_training) {
      library.template forward<B>(c.p, x.data(), weights, bias, y.data(), work.data());
      results.y = widen(y.host());
    } else if (pass == LayerPass::backward_data) {
      library.template backward_data<B>(c.p, dy.data(), weights, dx.data(), work.data());
      results.dx = widen(dx.host());
    } else {
      library.template backward_weights<B>(c.p, x.data(), dy.data(), dw.data(), db.data(),
                                           work.data());
      results.dw = widen(dw.host()), results.db = widen(db.host());
    }
    work.host();  // checks the guards
  }
  return results;
}

struct Cublas {
  VendorMath math;
  template <Backend B, typename T>
  size_t workspace(const Conv2dParams& p, LayerPass pass) const {
    return gpu::conv2d_workspace_cublas<B, T>(p, pass, math);
  }
  template <Backend B, typename T>
  void forward(const Conv2dParams& p, const T* x, const void* w, const float* b, T* y,
               void* work) const {
    gpu::conv2d_forward_cublas<B, T>(nullptr, p, x, w, b, y, work, math);
  }
  template <Backend B, typename T>
  void backward_data(const Conv2dParams& p, const T* dy, const void* w, T* dx, void* work) const {
    gpu::conv2d_backward_data_cublas<B, T>(nullptr, p, dy, w, dx, work, math);
  }
  template <Backend B, typename T>
  void backward_weights(const Conv2dParams& p, const T* x, const T* dy, float* dw, float* db,
                        void* work) const {
    gpu::conv2d_backward_weights_cublas<B, T>(nullptr, p, x, dy, dw, db, work, math);
  }
};
struct Cudnn {
  gpu::CudnnChoice choice;
  template <Backend B, typename T>
  size_t workspace(const Conv2dParams& p, LayerPass pass) const {
    return gpu::conv2d_workspace_cudnn<B, T>(p, pass, choice);
  }
  template <Backend B, typename T>
  void forward(const Conv2dParams& p, const T* x, const void* w, const float* b, T* y,
               void* work) const {
    gpu::conv2d_forward_cudnn<B, T>(nullptr, p, x, w, b, y, work, choice);
  }
  template <Backend B, typename T>
  void backward_data(const Conv2dParams& p, const T* dy, const void* w, T* dx, void* work) const {
    gpu::conv2d_backward_data_cudnn<B, T>(nullptr, p, dy, w, dx, work, choice);
  }
  template <Backend B, typename T>
  void backward_weights(const Conv2dParams& p, const T* x, const T* dy, float* dw, float* db,
                        void* work) const {
    gpu::conv2d_backward_weights_cudnn<B, T>(nullptr, p, x, dy, dw, db, work, choice);
  }
};

/// Sums of up to 300 products of about 1/3; results of bfloat16 are rounded to 8 bits, dx of the
/// product with cuBLAS once per tap.
void check_results(const Results& actual, const Results& wanted, bool rounded) {
  const double relative = rounded ? 0.004 : 1e-5, absolute = rounded ? 0.05 : 1e-5;
  for (const auto member : {&Results::y, &Results::dx, &Results::dw, &Results::db})
    if (!(actual.*member).empty() || (wanted.*member).empty())
      FRCNN_CHECK_SAME(actual.*member, wanted.*member, relative, absolute);
}

/// `nhwc` decides the layout of both maps.
Conv2dParams shape(bool nhwc, int64_t n, int64_t c, int64_t h, int64_t w, int64_t o) {
  Conv2dParams p;
  p.input = {n, c, h, w, nhwc ? c : 1};
  p.out_channels = o;
  p.out_block = nhwc ? o : 1;
  return p;
}
std::vector<Conv2dParams> shapes(bool nhwc) {
  Conv2dParams same = shape(nhwc, 2, 5, 6, 7, 9);
  same.pad_h = same.pad_w = 1;
  same.relu = true;
  Conv2dParams strided = shape(nhwc, 1, 3, 9, 10, 4);
  strided.kernel_h = 5, strided.kernel_w = 3, strided.stride_h = 2, strided.stride_w = 3;
  strided.pad_h = 2, strided.pad_w = 0;
  Conv2dParams point = shape(nhwc, 2, 8, 3, 3, 6);
  point.kernel_h = point.kernel_w = 1;
  point.bias = false;
  Conv2dParams one = shape(nhwc, 1, 1, 1, 1, 1);
  one.kernel_h = one.kernel_w = 1;
  return {same, strided, point, one};
}

}  // namespace

TEST_CASE("GPU vendor convolution: im2col and matrix products equal the CPU's") {
  for (const bool nhwc : {false, true})
    for (const Conv2dParams& p : shapes(nhwc)) {
      INFO((nhwc ? "NHWC, " : "NCHW, ") << p.input.c << " channels to " << p.out_channels);
      const Case c(p);
      const Results wanted = expected(c);
      for_backends([&](auto on) {
        constexpr Backend B = decltype(on)::backend;
        check_results(run<B, float>(c, VendorMath::f32, Cublas{VendorMath::f32}), wanted, false);
        check_results(run<B, float>(c, VendorMath::tf32, Cublas{VendorMath::tf32}), wanted, false);
        check_results(run<B, float>(c, VendorMath::bf16, Cublas{VendorMath::bf16}), wanted, false);
        check_results(run<B, Bfloat16>(c, VendorMath::bf16, Cublas{VendorMath::bf16}), wanted,
                      true);
      });
    }
}

TEST_CASE("GPU vendor convolution: no images") {
  const Case c(shape(true, 0, 3, 5, 5, 4));
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const Results r = run<B, float>(c, VendorMath::f32, Cublas{VendorMath::f32});
    CHECK(r.dw == std::vector<double>(c.w.size(), 0.0));
    CHECK(r.db == std::vector<double>(c.b.size(), 0.0));
  });
}

TEST_CASE("GPU vendor convolution: weights in the libraries' order, there and back") {
  const Conv2dParams p = shape(true, 1, 5, 6, 7, 3);
  const auto w = numbers(p.weight_size(), 5);
  CHECK(gpu::conv2d_packed_bytes_vendor(p, VendorMath::f32) == 4 * w.size());
  CHECK(gpu::conv2d_packed_bytes_vendor(p, VendorMath::bf16) == 2 * w.size());
  CHECK(gpu::conv2d_packed_bytes_vendor(shape(false, 1, 5, 6, 7, 3), VendorMath::tf32) == 0);
  std::vector<float> wanted(w.size());
  for (size_t o = 0; o < 3; ++o)
    for (size_t c = 0; c < 5; ++c)
      for (size_t tap = 0; tap < 9; ++tap) wanted[(o * 9 + tap) * 5 + c] = w[(o * 5 + c) * 9 + tap];
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const DeviceArray<B, float> dw(w), packed(w.size());
    const DeviceArray<B, Bfloat16> rounded(w.size());
    gpu::conv2d_pack_weights_vendor<B>(nullptr, p, dw.data(), packed.data(), VendorMath::f32);
    gpu::conv2d_pack_weights_vendor<B>(nullptr, p, dw.data(), rounded.data(), VendorMath::bf16);
    CHECK(packed.host() == wanted);
    CHECK(widen(rounded.host()) == std::vector<double>(wanted.begin(), wanted.end()));
  });
}

#if FRCNN_HAVE_EMULATION
TEST_CASE("GPU vendor convolution: what the libraries do not take is refused") {
  constexpr Backend B = Backend::emulated;
  Conv2dParams blocked = shape(false, 1, 16, 4, 4, 16);
  blocked.input.block = 8;
  CHECK_THROWS_WITH((gpu::conv2d_workspace_cublas<B, float>(blocked, LayerPass::forward_training,
                                                            VendorMath::f32)),
                    mentions("both NCHW or both NHWC, not channel blocks of 8 and 1"));
  CHECK_THROWS_WITH((gpu::conv2d_workspace_cublas<B, Bfloat16>(
                        shape(true, 1, 3, 4, 4, 5), LayerPass::forward_training, VendorMath::f32)),
                    mentions("maps of bfloat16 need the bf16 factors"));
  Conv2dParams huge = shape(true, 1, 2048, 2048, 2048, 8);
  CHECK_THROWS_WITH(
      (gpu::conv2d_workspace_cublas<B, float>(huge, LayerPass::forward_training, VendorMath::f32)),
      mentions("too many for one image"));
}

TEST_CASE("GPU vendor convolution: cuDNN is refused clearly under emulation") {
  constexpr Backend B = Backend::emulated;
  const Conv2dParams p = shape(true, 1, 3, 4, 4, 5);
  std::string why;
  CHECK_FALSE(gpu::conv2d_supported_cudnn<B, float>(p, LayerPass::forward_training, {}, &why));
  CHECK(why == "cuDNN is not available under emulation");
  CHECK_THROWS_WITH((gpu::conv2d_workspace_cudnn<B, float>(p, LayerPass::forward_training, {})),
                    mentions("[conv2d] cuDNN is not available under emulation"));
  CHECK_THROWS_WITH((gpu::conv2d_forward_cudnn<B, float>(nullptr, p, nullptr, nullptr, nullptr,
                                                         nullptr, nullptr, {})),
                    mentions("[conv2d] cuDNN is not available under emulation"));
}
#endif

#if FRCNN_HAVE_CUDA
TEST_CASE("GPU vendor convolution: every algorithm of cuDNN equals the CPU's") {
  constexpr Backend B = Backend::cuda;
  if (gpu::device_count<B>() == 0) {
    std::string why;
    CHECK_FALSE(gpu::conv2d_supported_cudnn<B, float>(shape(true, 1, 3, 4, 4, 5),
                                                      LayerPass::forward_training, {}, &why));
    CHECK(why != "");
    WARN("[skipped] no GPU: " << why);
    return;
  }
  const auto count = [](LayerPass pass) {
    if (pass == LayerPass::forward_training) return static_cast<int>(std::size(gpu::kCudnnForward));
    return static_cast<int>(pass == LayerPass::backward_data
                                ? std::size(gpu::kCudnnBackwardData)
                                : std::size(gpu::kCudnnBackwardWeights));
  };
  for (const bool nhwc : {false, true})
    for (const Conv2dParams& p : shapes(nhwc)) {
      const Case c(p);
      const Results wanted = expected(c);
      for (const VendorMath math : {VendorMath::f32, VendorMath::tf32, VendorMath::bf16})
        for (int algorithm = -1; algorithm < 8; ++algorithm) {
          const gpu::CudnnChoice choice{math, algorithm};
          std::vector<LayerPass> passes;
          for (const LayerPass pass : kPasses)
            if (algorithm < count(pass) && gpu::conv2d_supported_cudnn<B, float>(p, pass, choice))
              passes.push_back(pass);
          INFO((nhwc ? "NHWC, " : "NCHW, ")
               << p.input.c << " channels to " << p.out_channels << ", math "
               << static_cast<int>(math) << ", algorithm " << algorithm);
          check_results(run<B, float>(c, math, Cudnn{choice}, passes), wanted,
                        math != VendorMath::f32);
        }
    }
}
#endif
