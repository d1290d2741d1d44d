#include <limits>

#include "kernels/pooling/roi_align.h"
#include "kernels/pooling/roi_pool.h"
#include "tests/gpu/roi_gpu_support.h"

using namespace frcnn::kernels;
using namespace frcnn::test;

TEMPLATE_TEST_CASE("GPU RoI max pooling: the CPU's bits, forward and backward", "[roi]", float,
                   double) {
  using T = TestType;
  for (const RoiGpuCase& c : kRoiGpuCases)
    for (const MapLayout& map : layouts_of(c.map)) {
      const RoiPoolParams params{c.pooled_h, c.pooled_w, c.scale, c.scale * 0.9};
      RoiData<T> data(c, map);
      data.x[data.x.size() / 3] = std::numeric_limits<T>::quiet_NaN();
      std::vector<T> y(data.size), dx(data.x.size());
      std::vector<int32_t> argmax(data.size);
      cpu::roi_pool_forward(map, params, data.count, data.x.data(), data.rois.data(), y.data(),
                            argmax.data());
      cpu::roi_pool_backward(map, params, data.count, data.rois.data(), data.dy.data(),
                             argmax.data(), dx.data());
      for_backends([&](auto on) {
        constexpr Backend B = decltype(on)::backend;
        const DeviceArray<B, T> x(data.x), rois(data.rois), dy(data.dy);
        for (const auto version :
             {RoiPoolVersion::naive, RoiPoolVersion::channels_last, RoiPoolVersion::table}) {
          INFO(c.pooled_h << " bins, block " << map.block << ", "
                          << kRoiPoolVersions[static_cast<int>(version)].name);
          const DeviceArray<B, T> out(data.size), inference(data.size);
          const DeviceArray<B, int32_t> at(data.size);
          gpu::roi_pool_forward<B>(nullptr, map, params, data.count, x.data(), rois.data(),
                                   out.data(), at.data(), nullptr, version);
          gpu::roi_pool_forward<B, T>(nullptr, map, params, data.count, x.data(), rois.data(),
                                      inference.data(), nullptr, nullptr, version);
          FRCNN_CHECK_SAME(out.host(), y, 0, 0, true);
          FRCNN_CHECK_SAME(inference.host(), y, 0, 0, true);
          CHECK(at.host() == argmax);
        }
        const DeviceArray<B, int32_t> at(argmax);
        for (const auto version : {RoiPoolBackwardVersion::naive, RoiPoolBackwardVersion::tile,
                                   RoiPoolBackwardVersion::pipelined}) {
          INFO(c.pooled_h << " bins, block " << map.block << ", "
                          << kRoiPoolBackwardVersions[static_cast<int>(version)].name);
          const DeviceArray<B, T> gradient(dx.size());
          gpu::roi_pool_backward<B>(nullptr, map, params, data.count, rois.data(), dy.data(),
                                    at.data(), gradient.data(), nullptr, version);
          FRCNN_CHECK_SAME(gradient.host(), dx, 0, 0);
        }
      });
    }
}

TEMPLATE_TEST_CASE("GPU RoIAlign equals the CPU's within rounding, forward and backward", "[roi]",
                   float, double) {
  using T = TestType;
  for (const RoiGpuCase& c : kRoiGpuCases)
    for (const MapLayout& map : layouts_of(c.map)) {
      const RoiAlignParams params{c.pooled_h,    c.pooled_w, c.scale,
                                  c.scale * 0.9, c.ratio,    c.aligned};
      const RoiData<T> data(c, map);
      const auto forward = [&](const std::vector<T>& x) {
        std::vector<T> y(data.size);
        cpu::roi_align_forward(map, params, data.count, x.data(), data.rois.data(), y.data());
        return y;
      };
      const auto backward = [&](const std::vector<T>& dy) {
        std::vector<T> dx(data.x.size());
        cpu::roi_align_backward(map, params, data.count, data.rois.data(), dy.data(), dx.data());
        return dx;
      };
      const auto y = forward(data.x), y_size = forward(absolute(data.x));
      const auto dx = backward(data.dy), dx_size = backward(absolute(data.dy));
      // Cells and weights are the same bits; a product passes the additions of both axes, in
      // versions that do not merge weights twice as many; backward those of all RoIs and bins.
      const double forward_terms = 2 * (2 * most_taps(c) + 2);
      const double backward_terms =
          2 * static_cast<double>(c.rois) * (most_taps(c) + static_cast<double>(c.pooled_w)) +
          static_cast<double>(c.pooled_h);
      std::vector<T> table_bits, backward_bits;
      for_backends([&](auto on) {
        constexpr Backend B = decltype(on)::backend;
        const DeviceArray<B, T> x(data.x), rois(data.rois), dy(data.dy);
        for (const auto version :
             {RoiAlignVersion::naive, RoiAlignVersion::channels_last, RoiAlignVersion::table}) {
          INFO(c.pooled_h << " bins, block " << map.block << ", "
                          << kRoiAlignVersions[static_cast<int>(version)].name);
          const DeviceArray<B, T> out(data.size);
          gpu::roi_align_forward<B>(nullptr, map, params, data.count, x.data(), rois.data(),
                                    out.data(), nullptr, version);
          FRCNN_CHECK_ROUNDING(out.host(), y, y_size, forward_terms);
          if (version != RoiAlignVersion::table) continue;
          if (table_bits.empty()) table_bits = out.host();
          CHECK(out.host() == table_bits);
        }
        for (const auto version : {RoiAlignBackwardVersion::naive, RoiAlignBackwardVersion::tile,
                                   RoiAlignBackwardVersion::pipelined}) {
          INFO(c.pooled_h << " bins, block " << map.block << ", "
                          << kRoiAlignBackwardVersions[static_cast<int>(version)].name);
          const DeviceArray<B, T> gradient(dx.size());
          gpu::roi_align_backward<B>(nullptr, map, params, data.count, rois.data(), dy.data(),
                                     gradient.data(), nullptr, version);
          FRCNN_CHECK_ROUNDING(gradient.host(), dx, dx_size, backward_terms);
          if (backward_bits.empty()) backward_bits = gradient.host();
          CHECK(gradient.host() == backward_bits);  // the versions, too, agree bit by bit
        }
      });
    }
}

TEMPLATE_TEST_CASE("GPU RoI operations: rows beyond the device's count, RoIs that are none",
                   "[roi]", float, double) {
  using T = TestType;
  const T nan = std::numeric_limits<T>::quiet_NaN(), infinity = std::numeric_limits<T>::infinity();
  constexpr int64_t kRois = 8, kLive = 6;
  for (const int64_t block : {1, 8, 36}) {
    const MapLayout map{2, 36, 9, 10, block};
    const RoiPoolParams pool{3, 2, 0.5, 0.5};
    const RoiAlignParams align{3, 2, 0.5, 0.5, 2, false};
    constexpr size_t kBins = 6;
    // Rows 1 and 3 hold no RoI of this batch, 2, 4 and 5 no finite or near one; 6 and 7 are beyond
    // the count.
    const std::vector<T> rois = {1,   2,   3,   12,       17,  //
                                 2,   2,   3,   12,       17,  //
                                 0,   nan, 3,   12,       17,  //
                                 -1,  2,   3,   9,        9,   //
                                 1,   2,   3,   infinity, 9,   //
                                 0,   0,   0,   1e9,      8,   //
                                 0,   0,   0,   8,        8,   //
                                 nan, nan, nan, nan,      nan};
    const auto x = random_map<T>(map, -2, 2, 1);
    auto dy = random_vector<T>(kRois * 36 * kBins, -1, 1, 2);
    const std::vector<T> first_dy(dy.begin(), dy.begin() + 36 * kBins);
    std::fill(dy.begin() + kLive * 36 * static_cast<std::ptrdiff_t>(kBins), dy.end(), nan);
    // What the first RoI alone gives.
    std::vector<T> pool_y(dy.size(), 0), align_y(dy.size(), 0), pool_dx(x.size()),
        align_dx(x.size());
    std::vector<int32_t> argmax(dy.size(), -1);
    cpu::roi_pool_forward(map, pool, 1, x.data(), rois.data(), pool_y.data(), argmax.data());
    cpu::roi_pool_backward(map, pool, 1, rois.data(), first_dy.data(), argmax.data(),
                           pool_dx.data());
    cpu::roi_align_forward(map, align, 1, x.data(), rois.data(), align_y.data());
    cpu::roi_align_backward(map, align, 1, rois.data(), first_dy.data(), align_dx.data());
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      const DeviceArray<B, T> dx(x), drois(rois), ddy(dy), y(dy.size()), gradient(x.size());
      const DeviceArray<B, int32_t> at(dy.size()), count(std::vector<int32_t>{kLive});
      for (int v = 0; v < 3; ++v) {
        INFO("block " << block << ", version " << v);
        gpu::roi_pool_forward<B>(nullptr, map, pool, kRois, dx.data(), drois.data(), y.data(),
                                 at.data(), count.data(), static_cast<RoiPoolVersion>(v));
        FRCNN_CHECK_SAME(y.host(), pool_y, 0, 0);
        CHECK(at.host() == argmax);
        gpu::roi_pool_backward<B>(nullptr, map, pool, kRois, drois.data(), ddy.data(), at.data(),
                                  gradient.data(), count.data(),
                                  static_cast<RoiPoolBackwardVersion>(v));
        FRCNN_CHECK_SAME(gradient.host(), pool_dx, 0, 0);
        const double tol = tolerance<T>();
        gpu::roi_align_forward<B>(nullptr, map, align, kRois, dx.data(), drois.data(), y.data(),
                                  count.data(), static_cast<RoiAlignVersion>(v));
        FRCNN_CHECK_SAME(y.host(), align_y, tol, tol);
        gpu::roi_align_backward<B>(nullptr, map, align, kRois, drois.data(), ddy.data(),
                                   gradient.data(), count.data(),
                                   static_cast<RoiAlignBackwardVersion>(v));
        FRCNN_CHECK_SAME(gradient.host(), align_dx, tol, tol);
      }
    });
  }
}

TEST_CASE("GPU RoI operations: no RoIs, counts below zero and beyond the room, many RoIs",
          "[roi]") {
  const MapLayout map{1, 5, 4, 3, 8};
  const std::vector<float> zeros(static_cast<size_t>(map.size()), 0.0f);
  const auto x = random_map<float>(map, -1, 1, 1);
  // 600 RoIs fill three rounds of the list that the tile kernels make.
  const auto rois = make_rois<float>(600, 1, 64, 48);
  const auto dy = random_vector<float>(size_t{600} * 5 * 4, -1, 1, 2);
  const RoiPoolParams pool{2, 2, 1.0 / 16, 1.0 / 16};
  const RoiAlignParams align{2, 2, 1.0 / 16, 1.0 / 16, 2, false};
  std::vector<float> y(dy.size()), dx(x.size()), align_dx(x.size());
  std::vector<int32_t> argmax(dy.size());
  cpu::roi_pool_forward(map, pool, 600, x.data(), rois.data(), y.data(), argmax.data());
  cpu::roi_pool_backward(map, pool, 600, rois.data(), dy.data(), argmax.data(), dx.data());
  cpu::roi_align_backward(map, align, 600, rois.data(), dy.data(), align_dx.data());
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const DeviceArray<B, float> droi(rois), ddy(dy), gradient(x.size());
    const DeviceArray<B, int32_t> at(argmax), many(std::vector<int32_t>{1000}),
        negative(std::vector<int32_t>{-3});
    for (int v = 0; v < 3; ++v) {
      INFO("version " << v);
      const auto version = static_cast<RoiPoolBackwardVersion>(v);
      const auto align_version = static_cast<RoiAlignBackwardVersion>(v);
      gpu::roi_pool_forward<B, float>(nullptr, map, pool, 0, nullptr, nullptr, nullptr, nullptr,
                                      nullptr, static_cast<RoiPoolVersion>(v));
      gpu::roi_align_forward<B, float>(nullptr, map, align, 0, nullptr, nullptr, nullptr, nullptr,
                                       static_cast<RoiAlignVersion>(v));
      gpu::roi_pool_backward<B, float>(nullptr, map, pool, 0, nullptr, nullptr, nullptr,
                                       gradient.data(), nullptr, version);
      FRCNN_CHECK_SAME(gradient.host(), zeros, 0, 0);
      gpu::roi_align_backward<B>(nullptr, map, align, 600, droi.data(), ddy.data(), gradient.data(),
                                 negative.data(), align_version);
      FRCNN_CHECK_SAME(gradient.host(), zeros, 0, 0);
      gpu::roi_pool_backward<B>(nullptr, map, pool, 600, droi.data(), ddy.data(), at.data(),
                                gradient.data(), many.data(), version);
      FRCNN_CHECK_SAME(gradient.host(), dx, 0, 0);
      gpu::roi_align_backward<B>(nullptr, map, align, 600, droi.data(), ddy.data(), gradient.data(),
                                 many.data(), align_version);
      FRCNN_CHECK_SAME(gradient.host(), align_dx, 1e-4, 1e-5);
    }
  });
}

TEST_CASE("GPU RoI operations: a recorded graph follows the count on the device", "[roi]") {
  const MapLayout map{2, 8, 7, 6, 8};
  const auto x = random_map<float>(map, -1, 1, 1);
  const auto rois = make_rois<float>(8, 2, 112, 96);
  const RoiPoolParams params{3, 3, 1.0 / 16, 1.0 / 16};
  const auto dy = random_vector<float>(8 * 8 * 9, -1, 1, 2);
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const gpu::Stream stream = gpu::create_stream<B>();
    const DeviceArray<B, float> gx(x), grois(rois), gdy(dy), gy(dy.size()), gdx(x.size());
    const DeviceArray<B, int32_t> at(dy.size()), count(std::vector<int32_t>{0});
    gpu::synchronize<B>(nullptr);
    const gpu::Graph<B> graph(stream, [&] {
      gpu::roi_pool_forward<B>(stream, map, params, 8, gx.data(), grois.data(), gy.data(),
                               at.data(), count.data());
      gpu::roi_pool_backward<B>(stream, map, params, 8, grois.data(), gdy.data(), at.data(),
                                gdx.data(), count.data());
    });
    for (const int32_t live : {8, 3, 0}) {
      gpu::copy_to_device<B>(stream, count.data(), &live, sizeof live);
      graph.replay(stream);
      gpu::synchronize<B>(stream);
      std::vector<float> y(dy.size(), 0), dx(x.size());
      std::vector<int32_t> argmax(dy.size(), -1);
      cpu::roi_pool_forward(map, params, live, x.data(), rois.data(), y.data(), argmax.data());
      cpu::roi_pool_backward(map, params, live, rois.data(), dy.data(), argmax.data(), dx.data());
      FRCNN_CHECK_SAME(gy.host(), y, 0, 0);
      CHECK(at.host() == argmax);
      FRCNN_CHECK_SAME(gdx.host(), dx, 0, 0);
    }
    gpu::destroy_stream<B>(stream);
  });
}

TEST_CASE("GPU RoIAlign: bins far smaller than the rounding of their place", "[roi]") {
  // Positions between 64 and 128 are rounded to 2^-17; bins are 2^-20. Those of RoIs that begin at
  // 120, the border, are rounded to 120 and count, though all but the first lie beyond.
  const MapLayout map{1, 1, 120, 120, 1};
  std::vector<float> rois;
  for (int i = 0; i < 24; ++i) {
    const float at = (i < 12 ? 120.5f : 96.5f) - static_cast<float>(i % 12) * 0x1p-17f;
    for (float v : {0.0f, at, at, at + 0x1p-17f, at + 0x1p-17f}) rois.push_back(v);
  }
  const RoiAlignParams params{8, 8, 1, 1, 2, true};
  const auto dy = random_vector<float>(24 * 64, 0.5, 1, 2);
  std::vector<float> dx(static_cast<size_t>(map.size()));
  cpu::roi_align_backward(map, params, 24, rois.data(), dy.data(), dx.data());
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const DeviceArray<B, float> droi(rois), ddy(dy), gradient(dx.size());
    for (const auto version : {RoiAlignBackwardVersion::tile, RoiAlignBackwardVersion::pipelined}) {
      gpu::roi_align_backward<B>(nullptr, map, params, 24, droi.data(), ddy.data(), gradient.data(),
                                 nullptr, version);
      FRCNN_CHECK_ROUNDING(gradient.host(), dx, dx, 2.0 * 24 * 64);
    }
  });
}

TEMPLATE_TEST_CASE("GPU RoI operations equal torchvision's", "[roi]", float, double) {
  using T = TestType;
  const auto cast = [](const std::vector<double>& v) { return std::vector<T>(v.begin(), v.end()); };
  for (const std::string kind : {"roi_pool", "roi_align"})
    for (const std::string& name : golden_members("pooling", kind)) {
      const std::string group = kind + "/" + name;
      const auto get = [&](const char* what) { return golden_f64("pooling", group + "/" + what); };
      const auto x = get("x"), rois = get("rois"), y = get("y"), dy = get("dy"), dx = get("dx");
      std::vector<double> expected = y.values;
      if (sizeof(T) == 4) {
        const auto single = golden_f32("pooling", group + "/y_f32").values;
        expected.assign(single.begin(), single.end());
      }
      const double scale = golden_attribute("pooling", group, "scale");
      const int64_t count = rois.shape[0], channels = x.shape[1];
      for (const int64_t block : {int64_t{1}, channels}) {
        const MapLayout map{x.shape[0], channels, x.shape[2], x.shape[3], block};
        INFO(group << " block " << block);
        for_backends([&](auto on) {
          constexpr Backend B = decltype(on)::backend;
          const DeviceArray<B, T> in(blocked<T>(map, x.values)), boxes(cast(rois.values)),
              gradient(cast(dy.values)), out(y.values.size()), back(x.values.size());
          const DeviceArray<B, int32_t> at(y.values.size());
          if (kind == "roi_pool") {
            const RoiPoolParams params{y.shape[2], y.shape[3], scale, scale};
            gpu::roi_pool_forward<B>(nullptr, map, params, count, in.data(), boxes.data(),
                                     out.data(), at.data());
            FRCNN_CHECK_SAME(out.values(), expected, 0, 0);
            if (sizeof(T) == 4 && expected != y.values) return;  // other bins
            gpu::roi_pool_backward<B>(nullptr, map, params, count, boxes.data(), gradient.data(),
                                      at.data(), back.data());
            FRCNN_CHECK_SAME(back.values(), cast_to_double(blocked<T>(map, dx.values)), 0, 0);
          } else {
            const RoiAlignParams params{
                y.shape[2],
                y.shape[3],
                scale,
                scale,
                static_cast<int64_t>(golden_attribute("pooling", group, "ratio")),
                golden_attribute("pooling", group, "aligned") != 0};
            gpu::roi_align_forward<B>(nullptr, map, params, count, in.data(), boxes.data(),
                                      out.data());
            FRCNN_CHECK_SAME(out.values(), expected, tolerance<T>(), 4 * tolerance<T>());
            gpu::roi_align_backward<B>(nullptr, map, params, count, boxes.data(), gradient.data(),
                                       back.data());
            // In float a sample can move by the rounding of a coordinate: about 1e-5 of a cell.
            const double tol = sizeof(T) == 8 ? 1e-12 : 1e-4;
            FRCNN_CHECK_SAME(back.values(), cast_to_double(blocked<T>(map, dx.values)), tol, tol);
          }
        });
      }
    }
}
