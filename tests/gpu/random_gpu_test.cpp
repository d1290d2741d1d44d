#include <limits>

#include "kernels/launch/check.h"
#include "kernels/random/dropout.h"
#include "kernels/random/init.h"
#include "tests/gpu/map_gpu_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

TEMPLATE_TEST_CASE("GPU dropout: the CPU's bits, from the same key", "[random]", float, double) {
  using T = TestType;
  const RandomKey key{0x123456789ABCDEFu, kStreamDropout + 3 * kStreamStride, 0x100000007u};
  RandomKey later = key;
  later.step = 99;
  // The last probability lies half a step above the first random number, which is thus dropped.
  const double edge = ((random_bits(key, 0) >> 8) + 0.5) * 0x1.0p-24;
  for (const double p : {0.0, 0.3, 0.5, edge})
    for (const int64_t count : {0, 1, 3, 4, 7, 1023, 5000}) {
      const auto size = static_cast<size_t>(count);
      auto x = random_vector<T>(size, 1, 2, 3);
      if (count > 3) x[2] = std::numeric_limits<T>::quiet_NaN();
      std::vector<T> y(size), y_later(size);
      cpu::dropout(count, p, key, x.data(), y.data());
      cpu::dropout(count, p, later, x.data(), y_later.data());
      for_backends([&](auto on) {
        constexpr Backend B = decltype(on)::backend;
        for (const auto version : {DropoutVersion::naive, DropoutVersion::group}) {
          INFO(count << " numbers, p " << p << ", "
                     << kDropoutVersions[static_cast<int>(version)].name);
          const DeviceArray<B, T> gx(x), gy(size);
          const DeviceArray<B, uint64_t> step(std::vector<uint64_t>{99});
          gpu::dropout<B>(nullptr, count, p, key, gx.data(), gy.data(), nullptr, version);
          FRCNN_CHECK_SAME(gy.host(), y, 0, 0, true);
          gpu::dropout<B>(nullptr, count, p, key, gx.data(), gy.data(), step.data(), version);
          FRCNN_CHECK_SAME(gy.host(), y_later, 0, 0, true);
          if (count > 1) {  // not aligned; in place
            gpu::dropout<B>(nullptr, count - 1, p, key, gx.data() + 1, gx.data() + 1, nullptr,
                            version);
            std::vector<T> expected(x);
            cpu::dropout(count - 1, p, key, x.data() + 1, expected.data() + 1);
            FRCNN_CHECK_SAME(gx.host(), expected, 0, 0, true);
          }
        }
      });
    }
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    CHECK_THROWS_AS((gpu::dropout<B, T>(nullptr, 1, 1.0, key, nullptr, nullptr)), Error);
  });
}

TEST_CASE("GPU dropout: a recorded graph draws new numbers in every replay", "[random]") {
  RandomKey key{7, kStreamDropout, 0};
  const auto x = random_vector<float>(256, 1, 2, 3);
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const gpu::Stream stream = gpu::create_stream<B>();
    const DeviceArray<B, float> gx(x), gy(256);
    const DeviceArray<B, uint64_t> step(std::vector<uint64_t>{0});
    gpu::synchronize<B>(nullptr);
    const gpu::Graph<B> graph(
        stream, [&] { gpu::dropout<B>(stream, 256, 0.5, key, gx.data(), gy.data(), step.data()); });
    for (const uint64_t now : {uint64_t{1}, uint64_t{2}}) {
      gpu::copy_to_device<B>(stream, step.data(), &now, sizeof now);
      graph.replay(stream);
      gpu::synchronize<B>(stream);
      key.step = now;
      std::vector<float> y(256);
      cpu::dropout(256, 0.5, key, x.data(), y.data());
      FRCNN_CHECK_SAME(gy.host(), y, 0, 0);
      key.step = 0;
    }
    gpu::destroy_stream<B>(stream);
  });
}

TEMPLATE_TEST_CASE("GPU initialisers equal the CPU's", "[random]", float, double) {
  using T = TestType;
  const RandomKey key{3, kStreamInit, 5};
  // On a GPU the double logarithm and cosine may differ from the C library's in the last place, and
  // then the float, too; under emulation they are the same functions.
  const auto same = [](const std::vector<T>& actual, const std::vector<T>& expected,
                       Backend backend) {
    const double tol = backend == Backend::emulated ? 0 : 2.5e-7;
    FRCNN_CHECK_SAME(actual, expected, tol, tol * 1e-2);
  };
  for (const int64_t count : {0, 1, 2, 3, 5, 1026, 4097}) {
    const auto size = static_cast<size_t>(count);
    std::vector<T> normal(size), uniform(size), xavier(size), he(size);
    cpu::init_normal(count, 0.5, 0.01, key, normal.data());
    cpu::init_uniform(count, -0.5, 1.3, key, uniform.data());
    cpu::init_xavier(count, 300, 100, key, xavier.data());
    cpu::init_he(count, 72, key, he.data());
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      INFO(count << " numbers");
      const DeviceArray<B, T> w(size);
      gpu::init_normal<B>(nullptr, count, 0.5, 0.01, key, w.data());
      same(w.host(), normal, B);
      gpu::init_uniform<B>(nullptr, count, -0.5, 1.3, key, w.data());
      FRCNN_CHECK_SAME(w.host(), uniform, 0, 0);
      gpu::init_xavier<B>(nullptr, count, 300, 100, key, w.data());
      FRCNN_CHECK_SAME(w.host(), xavier, 0, 0);
      gpu::init_he<B>(nullptr, count, 72, key, w.data());
      same(w.host(), he, B);
    });
  }
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    CHECK_THROWS_AS((gpu::init_he<B, T>(nullptr, 1, 0, key, nullptr)), Error);
    CHECK_THROWS_AS((gpu::init_xavier<B, T>(nullptr, 1, 0, 1, key, nullptr)), Error);
    CHECK_THROWS_AS((gpu::init_uniform<B, T>(nullptr, 1, 1.0, 0.0, key, nullptr)), Error);
    CHECK_THROWS_AS((gpu::init_normal<B, T>(nullptr, 1, 0.0, -1.0, key, nullptr)), Error);
  });
}
