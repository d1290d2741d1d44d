#include <limits>

#include "kernels/pooling/adaptive_max_pool.h"
#include "kernels/pooling/max_pool.h"
#include "tests/gpu/map_gpu_support.h"

using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

/// Values with ties, a NaN in some windows and infinities.
template <typename T>
std::vector<T> make_input(const MapLayout& map) {
  auto plain = random_vector<double>(static_cast<size_t>(map.n * map.c * map.h * map.w), -3, 3, 1);
  for (double& value : plain) value = std::round(value * 2) / 2;
  for (size_t i = 5; i < plain.size(); i += 23) plain[i] = std::numeric_limits<double>::quiet_NaN();
  for (size_t i = 7; i < plain.size(); i += 17) plain[i] = -HUGE_VAL;
  return blocked<T>(map, plain);
}

struct Case {
  MapLayout map;  ///< its block is replaced
  MaxPoolParams params;
};
const Case kCases[] = {
    {{2, 20, 8, 10, 1}, MaxPoolParams::square(2, 2)},
    {{1, 12, 7, 9, 1}, MaxPoolParams::square(2, 2)},           // an odd row and column
    {{2, 3, 7, 10, 1}, MaxPoolParams::square(2, 2, 0, true)},  // rows cut short
    {{1, 24, 11, 12, 1}, MaxPoolParams::square(3, 2, 1)},
    {{1, 17, 10, 13, 1}, MaxPoolParams::square(3, 2, 0, true)},
    {{1, 5, 7, 9, 1}, {3, 2, 1, 3, 1, 0, false}},
    {{1, 8, 5, 11, 1}, {1, 2, 3, 4, 0, 1, true}},  // cells that no window holds
    {{1, 4, 16, 16, 1}, MaxPoolParams::square(16, 1)},
    {{1, 1, 1, 1, 1}, MaxPoolParams::square(1, 1)},
};

}  // namespace

TEMPLATE_TEST_CASE("GPU max pooling: the CPU's bits, forward and backward", "[pool]", float,
                   double) {
  using T = TestType;
  for (const Case& c : kCases)
    for (const MapLayout& map : layouts_of(c.map)) {
      const MapLayout out = max_pool_layout(map, c.params);
      const auto size = static_cast<size_t>(out.size());
      const auto x = make_input<T>(map), dy = random_map<T>(out, -1, 1, 2);
      std::vector<T> y(size), dx(x.size());
      std::vector<uint8_t> window(size);
      cpu::max_pool_forward(map, c.params, x.data(), y.data(), window.data());
      cpu::max_pool_backward(map, c.params, dy.data(), window.data(), dx.data());
      for_backends([&](auto on) {
        constexpr Backend B = decltype(on)::backend;
        const DeviceArray<B, T> gx(x), gdy(dy);
        const DeviceArray<B, uint8_t> gwindow(window);
        for (const auto version :
             {MaxPoolVersion::naive, MaxPoolVersion::vector, MaxPoolVersion::halves}) {
          INFO(map.c << "x" << map.h << "x" << map.w << ", block " << map.block << ", "
                     << kMaxPoolVersions[static_cast<int>(version)].name);
          const DeviceArray<B, T> gy(size), inference(size), gdx(x.size());
          const DeviceArray<B, uint8_t> at(size);
          gpu::max_pool_forward<B>(nullptr, map, c.params, gx.data(), gy.data(), at.data(),
                                   version);
          gpu::max_pool_forward<B, T>(nullptr, map, c.params, gx.data(), inference.data(), nullptr,
                                      version);
          gpu::max_pool_backward<B>(nullptr, map, c.params, gdy.data(), gwindow.data(), gdx.data(),
                                    version);
          FRCNN_CHECK_SAME(gy.host(), y, 0, 0, true);
          FRCNN_CHECK_SAME(inference.host(), y, 0, 0, true);
          CHECK(at.host() == window);
          FRCNN_CHECK_SAME(gdx.host(), dx, 0, 0);
        }
      });
    }
}

TEST_CASE("GPU max pooling: pointers that are not aligned for wide loads, no images", "[pool]") {
  const MapLayout map{1, 4, 6, 6, 4};
  const MaxPoolParams params;
  auto x = random_map<float>(map, -1, 1, 1);
  std::vector<float> y(36);
  cpu::max_pool_forward<float>(map, params, x.data(), y.data(), nullptr);
  x.insert(x.begin(), 9.0f);
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const DeviceArray<B, float> gx(x), gy(36);
    const DeviceArray<B, uint8_t> window(36);
    for (const auto version :
         {MaxPoolVersion::naive, MaxPoolVersion::vector, MaxPoolVersion::halves}) {
      gpu::max_pool_forward<B>(nullptr, map, params, gx.data() + 1, gy.data(), window.data(),
                               version);
      FRCNN_CHECK_SAME(gy.host(), y, 0, 0);
      const MapLayout none{0, 4, 6, 6, 4};
      gpu::max_pool_forward<B, float>(nullptr, none, params, nullptr, nullptr, nullptr, version);
      gpu::max_pool_backward<B, float>(nullptr, none, params, nullptr, nullptr, nullptr, version);
    }
  });
}

TEMPLATE_TEST_CASE("GPU adaptive max pooling: the CPU's bits, forward and backward", "[pool]",
                   float, double) {
  using T = TestType;
  struct Sizes {
    MapLayout map;
    int64_t out_h, out_w;
  };
  // Bins that divide the map, overlap by a row, are smaller than a cell.
  for (const Sizes& c : {Sizes{{2, 20, 14, 12, 1}, 7, 4}, Sizes{{1, 5, 11, 17, 1}, 7, 10},
                         Sizes{{1, 8, 3, 4, 1}, 7, 10}, Sizes{{1, 33, 1, 5, 1}, 1, 1}})
    for (const MapLayout& map : layouts_of(c.map)) {
      const MapLayout out = map.resized(c.out_h, c.out_w);
      const auto size = static_cast<size_t>(out.size());
      const auto x = make_input<T>(map), dy = random_map<T>(out, -1, 1, 2);
      std::vector<T> y(size), dx(x.size());
      std::vector<int32_t> argmax(size);
      cpu::adaptive_max_pool_forward(map, c.out_h, c.out_w, x.data(), y.data(), argmax.data());
      cpu::adaptive_max_pool_backward(map, c.out_h, c.out_w, dy.data(), argmax.data(), dx.data());
      for_backends([&](auto on) {
        constexpr Backend B = decltype(on)::backend;
        const DeviceArray<B, T> gx(x), gdy(dy);
        const DeviceArray<B, int32_t> gargmax(argmax);
        for (const auto version : {AdaptiveMaxPoolVersion::naive, AdaptiveMaxPoolVersion::vector}) {
          INFO(map.c << "x" << map.h << "x" << map.w << ", block " << map.block << ", "
                     << kAdaptiveMaxPoolVersions[static_cast<int>(version)].name);
          const DeviceArray<B, T> gy(size), inference(size), gdx(x.size());
          const DeviceArray<B, int32_t> at(size);
          gpu::adaptive_max_pool_forward<B>(nullptr, map, c.out_h, c.out_w, gx.data(), gy.data(),
                                            at.data(), version);
          gpu::adaptive_max_pool_forward<B, T>(nullptr, map, c.out_h, c.out_w, gx.data(),
                                               inference.data(), nullptr, version);
          gpu::adaptive_max_pool_backward<B>(nullptr, map, c.out_h, c.out_w, gdy.data(),
                                             gargmax.data(), gdx.data(), version);
          FRCNN_CHECK_SAME(gy.host(), y, 0, 0, true);
          FRCNN_CHECK_SAME(inference.host(), y, 0, 0, true);
          CHECK(at.host() == argmax);
          FRCNN_CHECK_SAME(gdx.host(), dx, 0, 0);
        }
      });
    }
}

TEST_CASE("GPU max pooling equals torch's", "[pool]") {
  for (const std::string& name : golden_members("pooling", "max_pool")) {
    const std::string group = "max_pool/" + name;
    const auto get = [&](const char* what) { return golden_f64("pooling", group + "/" + what); };
    const auto number = [&](const char* what) {
      return static_cast<int64_t>(golden_attribute("pooling", group, what));
    };
    const auto x = get("x"), y = get("y"), dy = get("dy"), dx = get("dx");
    const MaxPoolParams params{number("kernel_h"),      number("kernel_w"), number("stride_h"),
                               number("stride_w"),      number("pad_h"),    number("pad_w"),
                               number("ceil_mode") != 0};
    const MapLayout map{x.shape[0], x.shape[1], x.shape[2], x.shape[3], x.shape[1]};
    const MapLayout out = max_pool_layout(map, params);
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      INFO(group);
      const DeviceArray<B, double> gx(blocked<double>(map, x.values)),
          gdy(blocked<double>(out, dy.values)), gy(y.values.size()), gdx(x.values.size());
      const DeviceArray<B, uint8_t> window(y.values.size());
      gpu::max_pool_forward<B>(nullptr, map, params, gx.data(), gy.data(), window.data());
      gpu::max_pool_backward<B>(nullptr, map, params, gdy.data(), window.data(), gdx.data());
      FRCNN_CHECK_SAME(gy.host(), blocked<double>(out, y.values), 0, 0);
      FRCNN_CHECK_SAME(gdx.host(), blocked<double>(map, dx.values), 0, 0);
    });
  }
  for (const std::string& name : golden_members("pooling", "adaptive_max_pool")) {
    const std::string group = "adaptive_max_pool/" + name;
    const auto get = [&](const char* what) { return golden_f64("pooling", group + "/" + what); };
    const auto x = get("x"), y = get("y"), dy = get("dy"), dx = get("dx");
    const MapLayout map{x.shape[0], x.shape[1], x.shape[2], x.shape[3], 1};
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      INFO(group);
      const DeviceArray<B, double> gx(x.values), gdy(dy.values), gy(y.values.size()),
          gdx(x.values.size());
      const DeviceArray<B, int32_t> at(y.values.size());
      gpu::adaptive_max_pool_forward<B>(nullptr, map, y.shape[2], y.shape[3], gx.data(), gy.data(),
                                        at.data());
      gpu::adaptive_max_pool_backward<B>(nullptr, map, y.shape[2], y.shape[3], gdy.data(),
                                         at.data(), gdx.data());
      FRCNN_CHECK_SAME(gy.host(), y.values, 0, 0);
      FRCNN_CHECK_SAME(gdx.host(), dx.values, 0, 0);
    });
  }
}
