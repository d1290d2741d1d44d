#include "kernels/launch/check.h"
#include "kernels/norm/lrn.h"
#include "tests/gpu/map_gpu_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

TEMPLATE_TEST_CASE("GPU local response normalisation equals the CPU's within rounding", "[norm]",
                   float, double) {
  using T = TestType;
  // Windows of one channel, odd and even, wider than the map; the exponents with and without roots.
  const LrnParams params[] = {{3, 5e-5, 0.75, 1},
                              {5, 0.3, 0.75, 1},
                              {4, 0.2, 0.5, 1.5},
                              {1, 0.4, 0.6, 2},
                              {31, 0.7, 0.9, 1}};
  const MapLayout shapes[] = {{2, 24, 5, 7, 1}, {1, 70, 6, 6, 1}, {3, 3, 2, 1, 1}};
  for (const MapLayout& shape : shapes)
    for (const MapLayout& map : layouts_of(shape))
      for (const LrnParams& p : params) {
        const auto x = random_map<T>(map, -3, 3, 1), dy = random_map<T>(map, -1, 1, 2);
        std::vector<T> y(x.size()), dx(x.size()), y_size = absolute(x), dx_size(x.size());
        cpu::lrn_forward(map, p, x.data(), y.data());
        cpu::lrn_backward(map, p, x.data(), dy.data(), dx.data());
        // The window's sum is rounded `size` times, the power amplifies that by beta at most 1, and
        // the power itself, a division and a product follow. In dx, |dy| and |x| s^-beta are at
        // most 1 and 3, and the second term at most 2 alpha beta 3 * 3.
        const double terms = static_cast<double>(p.size) + 8;
        for (T& value : dx_size) value = static_cast<T>(2 + 36 * p.alpha);
        for_backends([&](auto on) {
          constexpr Backend B = decltype(on)::backend;
          const DeviceArray<B, T> gx(x), gdy(dy);
          for (const auto version : {LrnVersion::naive, LrnVersion::tile}) {
            INFO(map.c << " channels, block " << map.block << ", window " << p.size << ", "
                       << kLrnVersions[static_cast<int>(version)].name);
            const DeviceArray<B, T> out(x.size()), in_place(x), gdx(x.size()), back(dy);
            gpu::lrn_forward<B>(nullptr, map, p, gx.data(), out.data(), version);
            gpu::lrn_forward<B>(nullptr, map, p, in_place.data(), in_place.data(), version);
            gpu::lrn_backward<B>(nullptr, map, p, gx.data(), gdy.data(), gdx.data(), version);
            gpu::lrn_backward<B>(nullptr, map, p, gx.data(), back.data(), back.data(), version);
            FRCNN_CHECK_ROUNDING(out.host(), y, y_size, terms);
            FRCNN_CHECK_ROUNDING(gdx.host(), dx, dx_size, terms);
            CHECK(in_place.host() == out.host());
            CHECK(back.host() == gdx.host());
          }
        });
      }
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    for (const int64_t size : {0, 33})
      CHECK_THROWS_AS(
          (gpu::lrn_forward<B, T>(nullptr, shapes[0], {size, 1, 1, 1}, nullptr, nullptr)), Error);
  });
}

TEST_CASE("GPU local response normalisation equals torch's", "[norm]") {
  for (const std::string& name : golden_members("norm", "lrn")) {
    const std::string group = "lrn/" + name;
    const auto get = [&](const char* what) { return golden_f64("norm", group + "/" + what); };
    const auto x = get("x"), y = get("y"), dy = get("dy"), dx = get("dx");
    const auto number = [&](const char* what) { return golden_attribute("norm", group, what); };
    const LrnParams params{static_cast<int64_t>(number("size")), number("alpha"), number("beta"),
                           number("k")};
    for (const int64_t block : {int64_t{1}, x.shape[1]}) {
      const MapLayout map{x.shape[0], x.shape[1], x.shape[2], x.shape[3], block};
      for_backends([&](auto on) {
        constexpr Backend B = decltype(on)::backend;
        INFO(group << ", block " << block);
        const DeviceArray<B, double> gx(blocked<double>(map, x.values)),
            gdy(blocked<double>(map, dy.values)), out(x.values.size());
        gpu::lrn_forward<B>(nullptr, map, params, gx.data(), out.data());
        FRCNN_CHECK_SAME(out.host(), blocked<double>(map, y.values), 1e-12, 1e-12);
        gpu::lrn_backward<B>(nullptr, map, params, gx.data(), gdy.data(), out.data());
        FRCNN_CHECK_SAME(out.host(), blocked<double>(map, dx.values), 1e-12, 1e-12);
      });
    }
  }
}
