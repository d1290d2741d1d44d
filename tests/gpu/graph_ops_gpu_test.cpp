// The operations of imported networks on a GPU beside the CPU's kernels: average pooling,
// activations, broadcasting, copies of parts of maps.
#include <limits>

#include "kernels/elementwise/activations.h"
#include "kernels/elementwise/broadcast.h"
#include "kernels/elementwise/copy_map.h"
#include "kernels/pooling/avg_pool.h"
#include "tests/gpu/map_gpu_support.h"

using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

/// Random values, one NaN and one infinity.
template <typename T>
std::vector<T> with_specials(const MapLayout& map, uint64_t seed) {
  auto plain =
      random_vector<double>(static_cast<size_t>(map.n * map.c * map.h * map.w), -3, 3, seed);
  if (plain.size() > 9) {
    plain[4] = std::numeric_limits<double>::quiet_NaN();
    plain[9] = std::numeric_limits<double>::infinity();
  }
  return blocked<T>(map, plain);
}

const MapLayout kMaps[] = {{2, 20, 7, 9, 1},   {1, 16, 4, 6, 1}, {2, 3, 5, 5, 1},
                           {1, 35, 33, 32, 1}, {3, 1, 1, 1, 1},  {0, 8, 4, 4, 1}};
constexpr BinaryOp kOps[] = {BinaryOp::add, BinaryOp::subtract, BinaryOp::multiply};
constexpr Spread kSpreads[] = {Spread::whole, Spread::channel, Spread::plane};

}  // namespace

TEMPLATE_TEST_CASE("GPU average pooling: the CPU's bits, forward and backward", "[pool]", float,
                   double) {
  using T = TestType;
  struct Case {
    MapLayout map;
    AvgPoolParams params;
  };
  const Case cases[] = {
      {{2, 20, 8, 10, 1}, AvgPoolParams::square(2, 2)},
      {{1, 12, 9, 7, 1}, {3, 3, 2, 2, 1, 1, false, true}},
      {{1, 12, 10, 8, 1}, {3, 3, 2, 2, 1, 1, true, true}},
      {{1, 17, 10, 8, 1}, {3, 2, 1, 3, 1, 0, true, false}},
      {{1, 8, 5, 11, 1}, {1, 2, 3, 4, 0, 1, false, false}},  // cells that no window holds
      {{1, 1, 1, 1, 1}, AvgPoolParams::square(1, 1)},
      {{0, 4, 4, 4, 1}, AvgPoolParams::square(2, 2)},
  };
  for (const Case& c : cases)
    for (const MapLayout& map : layouts_of(c.map)) {
      const MapLayout out = avg_pool_layout(map, c.params);
      const auto size = static_cast<size_t>(out.size());
      const auto x = with_specials<T>(map, 1), dy = random_map<T>(out, -1, 1, 2);
      std::vector<T> y(size), dx(x.size());
      cpu::avg_pool_forward(map, c.params, x.data(), y.data());
      cpu::avg_pool_backward(map, c.params, dy.data(), dx.data());
      for_backends([&](auto on) {
        constexpr Backend B = decltype(on)::backend;
        const DeviceArray<B, T> gx(x), gdy(dy);
        for (const auto version : {AvgPoolVersion::naive, AvgPoolVersion::vector}) {
          INFO(map.c << "x" << map.h << "x" << map.w << ", block " << map.block << ", "
                     << kAvgPoolVersions[static_cast<int>(version)].name);
          const DeviceArray<B, T> gy(size), gdx(x.size());
          gpu::avg_pool_forward<B>(nullptr, map, c.params, gx.data(), gy.data(), version);
          gpu::avg_pool_backward<B>(nullptr, map, c.params, gdy.data(), gdx.data(), version);
          FRCNN_CHECK_SAME(gy.host(), y, 0, 0, true);
          FRCNN_CHECK_SAME(gdx.host(), dx, 0, 0);
        }
      });
    }
}

TEMPLATE_TEST_CASE("GPU global average pooling equals the CPU's, all schedules give equal bits",
                   "[pool]", float, double) {
  using T = TestType;
  for (const MapLayout& shape : kMaps)
    for (const MapLayout& map : layouts_of(shape)) {
      const MapLayout out = map.resized(1, 1);
      const auto size = static_cast<size_t>(out.size());
      const auto x = random_map<T>(map, -3, 3, 1), dy = random_map<T>(out, -1, 1, 2);
      std::vector<T> y(size), magnitude(size), dx(x.size()), first;
      cpu::global_avg_pool_forward(map, x.data(), y.data());
      cpu::global_avg_pool_forward(map, absolute(x).data(), magnitude.data());
      cpu::global_avg_pool_backward(map, dy.data(), dx.data());
      for_backends([&](auto on) {
        constexpr Backend B = decltype(on)::backend;
        const DeviceArray<B, T> gx(x), gdy(dy);
        for (const auto version : {GlobalAvgPoolVersion::naive, GlobalAvgPoolVersion::block}) {
          INFO(map.c << "x" << map.h << "x" << map.w << ", block " << map.block << ", "
                     << kGlobalAvgPoolVersions[static_cast<int>(version)].name);
          const DeviceArray<B, T> gy(size);
          gpu::global_avg_pool_forward<B>(nullptr, map, gx.data(), gy.data(), version);
          // double: as many roundings as cells; float: the last one only, of sums that differ
          FRCNN_CHECK_ROUNDING(gy.host(), y, magnitude,
                               sizeof(T) == 8 ? static_cast<double>(map.h * map.w) : 2);
          if (version != GlobalAvgPoolVersion::block) continue;
          if (first.empty()) first = gy.host();
          CHECK(gy.host() == first);
        }
        for (const auto version : {AvgPoolVersion::naive, AvgPoolVersion::vector}) {
          const DeviceArray<B, T> gdx(x.size());
          gpu::global_avg_pool_backward<B>(nullptr, map, gdy.data(), gdx.data(), version);
          FRCNN_CHECK_SAME(gdx.host(), dx, 0, 0);
        }
      });
    }
}

TEMPLATE_TEST_CASE("GPU activations: the CPU's bits, sigmoid's within two roundings", "", float,
                   double) {
  using T = TestType;
  for (const int64_t count : {0, 1, 3, 4, 257, 1030}) {
    const auto n = static_cast<size_t>(count);
    auto x = random_vector<T>(n, -3, 3, 1), dy = random_vector<T>(n, -1, 1, 2);
    if (count > 8) {
      x[2] = std::numeric_limits<T>::quiet_NaN();
      x[5] = std::numeric_limits<T>::infinity();
      x[6] = -std::numeric_limits<T>::infinity();
      x[7] = T(0);
    }
    std::vector<T> leaky(n), leaky_back(n), clip(n), clip_back(n), sigmoid(n), sigmoid_back(n);
    cpu::leaky_relu_forward(count, 0.1, x.data(), leaky.data());
    cpu::leaky_relu_backward(count, 0.1, x.data(), dy.data(), leaky_back.data());
    cpu::clip_forward(count, -0.5, 1.5, x.data(), clip.data());
    cpu::clip_backward(count, -0.5, 1.5, clip.data(), dy.data(), clip_back.data());
    cpu::sigmoid_forward(count, x.data(), sigmoid.data());
    cpu::sigmoid_backward(count, sigmoid.data(), dy.data(), sigmoid_back.data());
    const double close = 3 * static_cast<double>(std::numeric_limits<T>::epsilon());
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      const DeviceArray<B, T> gx(x), gdy(dy), gclip(clip), gsigmoid(sigmoid), y(n);
      for (const auto version : {ElementwiseVersion::scalar, ElementwiseVersion::vector}) {
        INFO(count << " elements, " << kElementwiseVersions[static_cast<int>(version)].name);
        gpu::leaky_relu_forward<B>(nullptr, count, 0.1, gx.data(), y.data(), version);
        FRCNN_CHECK_SAME(y.host(), leaky, 0, 0, true);
        gpu::leaky_relu_backward<B>(nullptr, count, 0.1, gx.data(), gdy.data(), y.data(), version);
        FRCNN_CHECK_SAME(y.host(), leaky_back, 0, 0, true);
        gpu::clip_forward<B>(nullptr, count, -0.5, 1.5, gx.data(), y.data(), version);
        FRCNN_CHECK_SAME(y.host(), clip, 0, 0, true);
        gpu::clip_backward<B>(nullptr, count, -0.5, 1.5, gclip.data(), gdy.data(), y.data(),
                              version);
        FRCNN_CHECK_SAME(y.host(), clip_back, 0, 0, true);
        gpu::sigmoid_forward<B>(nullptr, count, gx.data(), y.data(), version);
        FRCNN_CHECK_SAME(y.host(), sigmoid, close, 0, true);
        gpu::sigmoid_backward<B>(nullptr, count, gsigmoid.data(), gdy.data(), y.data(), version);
        FRCNN_CHECK_SAME(y.host(), sigmoid_back, 0, 0, true);
        // A pointer that is not aligned for wide loads, in place.
        if (count > 1) {
          const DeviceArray<B, T> shifted(x);
          gpu::clip_forward<B>(nullptr, count - 1, -0.5, 1.5, shifted.data() + 1,
                               shifted.data() + 1, version);
          auto expected = clip;
          expected[0] = x[0];
          FRCNN_CHECK_SAME(shifted.host(), expected, 0, 0, true);
        }
      }
    });
  }
  for (const MapLayout& map : {MapLayout{2, 11, 3, 2, 8}, MapLayout{0, 3, 2, 2, 8},
                               MapLayout{1, 16, 2, 2, 16}, MapLayout{1, 1, 1, 1, 16}}) {
    std::vector<T> expected(static_cast<size_t>(map.size()), T(7));
    cpu::clear_padding(map, expected.data());
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      const DeviceArray<B, T> values(std::vector<T>(expected.size(), T(7)));
      gpu::clear_padding<B>(nullptr, map, values.data());
      CHECK(values.host() == expected);
    });
  }
}

TEMPLATE_TEST_CASE("GPU broadcasting: the CPU's bits forward, its sums backward", "", float,
                   double) {
  using T = TestType;
  for (const MapLayout& shape : kMaps)
    for (const MapLayout& map : layouts_of(shape))
      for (const BinaryOp op : kOps)
        for (const Spread spread : kSpreads) {
          const auto count = static_cast<size_t>(spread_size(map, spread));
          const auto a = with_specials<T>(map, 1);
          const auto finite = random_map<T>(map, -2, 2, 4), dy = random_map<T>(map, -1, 1, 2);
          const auto b = random_vector<T>(count, -2, 2, 3);
          const bool multiply = op == BinaryOp::multiply;
          std::vector<T> y(a.size()), db(count), magnitude(count), first;
          std::vector<double> workspace(static_cast<size_t>(broadcast_workspace(map)));
          cpu::broadcast_forward(map, op, spread, a.data(), b.data(), y.data());
          cpu::broadcast_backward(map, op, spread, dy.data(), finite.data(), db.data(),
                                  workspace.data());
          cpu::broadcast_backward(map, multiply ? op : BinaryOp::add, spread, absolute(dy).data(),
                                  absolute(finite).data(), magnitude.data(), workspace.data());
          for_backends([&](auto on) {
            constexpr Backend B = decltype(on)::backend;
            const DeviceArray<B, T> ga(a), gb(b), gdy(dy), gfinite(finite);
            for (const auto version : {BroadcastVersion::naive, BroadcastVersion::vector}) {
              INFO(map.c << "x" << map.h << "x" << map.w << ", block " << map.block << ", op "
                         << static_cast<int>(op) << ", spread " << static_cast<int>(spread) << ", "
                         << kBroadcastVersions[static_cast<int>(version)].name);
              const DeviceArray<B, T> gy(y.size()), gdb(count);
              const DeviceArray<B, double> work(workspace.size());
              gpu::broadcast_forward<B>(nullptr, map, op, spread, ga.data(), gb.data(), gy.data(),
                                        version);
              FRCNN_CHECK_SAME(gy.host(), y, 0, 0, true);
              gpu::broadcast_backward<B>(nullptr, map, op, spread, gdy.data(),
                                         multiply ? gfinite.data() : nullptr, gdb.data(),
                                         work.data(), version);
              work.host();  // checks the guards
              // double: as many roundings as terms; float: the last one only
              const double terms =
                  static_cast<double>(map.n * map.c * map.h * map.w) / std::max<double>(1, count);
              FRCNN_CHECK_ROUNDING(gdb.host(), db, magnitude, sizeof(T) == 8 ? 2 + terms : 2);
              if (version != BroadcastVersion::vector) continue;
              if (first.empty()) first = gdb.host();
              CHECK(gdb.host() == first);
            }
          });
        }
}

TEMPLATE_TEST_CASE("GPU subtract: the CPU's bits, with tails and in place", "", float, double) {
  using T = TestType;
  for (const int64_t count : {0, 1, 5, 1027}) {
    const auto n = static_cast<size_t>(count);
    const auto a = random_vector<T>(n, -2, 2, 1), b = random_vector<T>(n, -2, 2, 2);
    std::vector<T> expected(n);
    cpu::subtract(count, a.data(), b.data(), expected.data());
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      for (const auto version : {ElementwiseVersion::scalar, ElementwiseVersion::vector}) {
        const DeviceArray<B, T> ga(a), gb(b);
        gpu::subtract<B>(nullptr, count, ga.data(), gb.data(), gb.data(), version);
        FRCNN_CHECK_SAME(gb.host(), expected, 0, 0);
      }
    });
  }
}

TEMPLATE_TEST_CASE("GPU copies of channels: the CPU's bits between all layouts", "", float,
                   double) {
  using T = TestType;
  struct Case {
    int64_t n, h, w, from, to;
    ChannelRun run;
  };
  const Case cases[] = {
      {2, 3, 4, 16, 40, {0, 8, 16}}, {1, 4, 4, 8, 24, {0, 16, 8}},   // in whole packs
      {2, 3, 5, 7, 20, {0, 13, 7}},  {1, 2, 3, 20, 7, {5, 0, 7}},    // in none
      {1, 3, 3, 24, 16, {8, 0, 16}}, {1, 2, 2, 12, 11, {0, 0, 11}},  // the end of y, padded
      {2, 2, 2, 8, 13, {0, 8, 5}},   {3, 1, 1, 4, 8, {0, 4, 4}},    {0, 2, 2, 4, 8, {0, 4, 4}},
  };
  for (const Case& c : cases)
    for (const MapLayout& from : layouts_of(MapLayout{c.n, c.from, c.h, c.w, 1}))
      for (const MapLayout& to : layouts_of(MapLayout{c.n, c.to, c.h, c.w, 1})) {
        const auto x = with_specials<T>(from, 1);
        const std::vector<T> before(static_cast<size_t>(to.size()), T(9));
        auto y = before;
        cpu::copy_channels(from, to, c.run, x.data(), y.data());
        for_backends([&](auto on) {
          constexpr Backend B = decltype(on)::backend;
          for (const auto version : {CopyMapVersion::naive, CopyMapVersion::vector}) {
            INFO(c.from << " to " << c.to << ", blocks " << from.block << " " << to.block << ", "
                        << kCopyMapVersions[static_cast<int>(version)].name);
            const DeviceArray<B, T> gx(x), gy(before);
            gpu::copy_channels<B>(nullptr, from, to, c.run, gx.data(), gy.data(), version);
            FRCNN_CHECK_SAME(gy.host(), y, 0, 0, true);
          }
        });
      }
}

TEMPLATE_TEST_CASE("GPU padding and crop: the CPU's bits in all layouts", "", float, double) {
  using T = TestType;
  for (const MapPadding& padding :
       {MapPadding{0, 0, 0, 0}, MapPadding{1, 2, 0, 3}, MapPadding{3, 0, 1, 1}})
    for (const MapLayout& shape : kMaps)
      for (const MapLayout& map : layouts_of(shape)) {
        const MapLayout out = padding.padded(map);
        const auto x = with_specials<T>(map, 1), dy = with_specials<T>(out, 2);
        std::vector<T> y(dy.size()), dx(x.size());
        cpu::pad_map(map, padding, -0.75, x.data(), y.data());
        cpu::crop_map(map, padding, dy.data(), dx.data());
        for_backends([&](auto on) {
          constexpr Backend B = decltype(on)::backend;
          const DeviceArray<B, T> gx(x), gdy(dy);
          for (const auto version : {CopyMapVersion::naive, CopyMapVersion::vector}) {
            const DeviceArray<B, T> gy(y.size()), gdx(x.size());
            gpu::pad_map<B>(nullptr, map, padding, -0.75, gx.data(), gy.data(), version);
            gpu::crop_map<B>(nullptr, map, padding, gdy.data(), gdx.data(), version);
            FRCNN_CHECK_SAME(gy.host(), y, 0, 0, true);
            FRCNN_CHECK_SAME(gdx.host(), dx, 0, 0, true);
          }
        });
      }
}
