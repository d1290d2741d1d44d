// Precise RoI pooling on a GPU, and both RoI layers backward to the coordinates of RoIs.
#include <limits>

#include "kernels/pooling/precise_roi.h"
#include "kernels/pooling/roi_align.h"
#include "tests/gpu/roi_gpu_support.h"

using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

/// RoIs of data of which none is narrower than `least` cells on an axis: slopes of narrower bins
/// are differences of neighbouring numbers.
template <typename T>
RoiData<T> wide_rois(const RoiGpuCase& c, const MapLayout& map, double least) {
  RoiData<T> data(c, map);
  for (size_t i = 0; i < data.rois.size(); i += 5)
    for (size_t axis = 1; axis <= 2; ++axis) {
      T &low = data.rois[i + axis], &high = data.rois[i + axis + 2];
      if ((high - low) * static_cast<T>(c.scale * 0.9) < static_cast<T>(least))
        high = low + static_cast<T>(least / (c.scale * 0.9));
    }
  return data;
}

/// What every number of drois adds up in absolute values, at most: the slope of a bin's mean is at
/// most `slope` times the largest value of the map.
template <typename T>
std::vector<T> slope_magnitudes(const RoiData<T>& data, double slope) {
  double largest = 0;
  for (const T v : data.x) largest = std::max(largest, static_cast<double>(std::abs(v)));
  std::vector<T> sizes;
  const size_t per_roi = data.size / static_cast<size_t>(data.count);
  for (size_t r = 0; r < static_cast<size_t>(data.count); ++r) {
    double sum = 0;
    for (size_t i = r * per_roi; i < (r + 1) * per_roi; ++i)
      sum += static_cast<double>(std::abs(data.dy[i]));
    sizes.insert(sizes.end(), 5, static_cast<T>(sum * slope * largest));
  }
  return sizes;
}

}  // namespace

TEMPLATE_TEST_CASE("GPU precise RoI pooling equals the CPU's within rounding", "[roi]", float,
                   double) {
  using T = TestType;
  for (const RoiGpuCase& c : kRoiGpuCases)
    for (const MapLayout& map : layouts_of(c.map)) {
      const PreciseRoiParams params{c.pooled_h, c.pooled_w, c.scale, c.scale * 0.9};
      const RoiData<T> data(c, map);
      const auto forward = [&](const std::vector<T>& x) {
        std::vector<T> y(data.size);
        cpu::precise_roi_forward(map, params, data.count, x.data(), data.rois.data(), y.data());
        return y;
      };
      const auto backward = [&](const std::vector<T>& dy) {
        std::vector<T> dx(data.x.size());
        cpu::precise_roi_backward(map, params, data.count, data.rois.data(), dy.data(), dx.data());
        return dx;
      };
      const auto y = forward(data.x), y_size = forward(absolute(data.x));
      const auto dx = backward(data.dy), dx_size = backward(absolute(data.dy));
      // Weights are the same bits, at most as many as the map has rows or columns.
      const double taps = static_cast<double>(map.h + map.w);
      const double backward_terms =
          2 * static_cast<double>(c.rois) * (taps + static_cast<double>(c.pooled_w)) +
          static_cast<double>(c.pooled_h);
      std::vector<T> backward_bits;
      for_backends([&](auto on) {
        constexpr Backend B = decltype(on)::backend;
        const DeviceArray<B, T> x(data.x), rois(data.rois), dy(data.dy);
        for (const auto version : {PreciseRoiVersion::naive, PreciseRoiVersion::channels_last,
                                   PreciseRoiVersion::table}) {
          INFO(c.pooled_h << " bins, block " << map.block << ", "
                          << kPreciseRoiVersions[static_cast<int>(version)].name);
          const DeviceArray<B, T> out(data.size);
          gpu::precise_roi_forward<B>(nullptr, map, params, data.count, x.data(), rois.data(),
                                      out.data(), nullptr, version);
          FRCNN_CHECK_ROUNDING(out.host(), y, y_size, 2 * taps);
        }
        for (const auto version :
             {PreciseRoiBackwardVersion::naive, PreciseRoiBackwardVersion::tile,
              PreciseRoiBackwardVersion::pipelined}) {
          INFO(c.pooled_h << " bins, block " << map.block << ", "
                          << kPreciseRoiBackwardVersions[static_cast<int>(version)].name);
          const DeviceArray<B, T> gradient(dx.size());
          gpu::precise_roi_backward<B>(nullptr, map, params, data.count, rois.data(), dy.data(),
                                       gradient.data(), nullptr, version);
          FRCNN_CHECK_ROUNDING(gradient.host(), dx, dx_size, backward_terms);
          if (backward_bits.empty()) backward_bits = gradient.host();
          CHECK(gradient.host() == backward_bits);  // the versions, too, agree bit by bit
        }
      });
    }
}

TEMPLATE_TEST_CASE("A17: GPU RoI layers backward to coordinates equal the CPU's within rounding",
                   "[roi]", float, double) {
  using T = TestType;
  for (const RoiGpuCase& c : kRoiGpuCases)
    for (const MapLayout& map : layouts_of(c.map)) {
      const double least = static_cast<double>(std::max(c.pooled_h, c.pooled_w)) / 20;
      const RoiData<T> data = wide_rois<T>(c, map, least);
      const RoiAlignParams align{c.pooled_h,    c.pooled_w, c.scale,
                                 c.scale * 0.9, c.ratio,    c.aligned};
      const PreciseRoiParams precise{c.pooled_h, c.pooled_w, c.scale, c.scale * 0.9};
      std::vector<T> of_align(data.rois.size()), of_precise(data.rois.size());
      cpu::roi_align_backward_rois(map, align, data.count, data.x.data(), data.rois.data(),
                                   data.dy.data(), of_align.data());
      cpu::precise_roi_backward_rois(map, precise, data.count, data.x.data(), data.rois.data(),
                                     data.dy.data(), of_precise.data());
      // A bin's samples move by at most a cell per cell; the ends of a bin of least / bins cells
      // weigh the inverse of that.
      const auto align_sizes = slope_magnitudes(data, 2 * c.scale);
      const auto precise_sizes = slope_magnitudes(data, 2 * c.scale * 20);
      const double terms = static_cast<double>(map.c * c.pooled_h * c.pooled_w + map.h + map.w);
      std::vector<T> align_bits, precise_bits;
      for_backends([&](auto on) {
        constexpr Backend B = decltype(on)::backend;
        const DeviceArray<B, T> x(data.x), rois(data.rois), dy(data.dy);
        for (const int v : {0, 1}) {
          INFO(c.pooled_h << " bins, block " << map.block << ", "
                          << kRoiAlignSlopesVersions[v].name);
          const DeviceArray<B, T> drois(data.rois.size());
          gpu::roi_align_backward_rois<B>(nullptr, map, align, data.count, x.data(), rois.data(),
                                          dy.data(), drois.data(), nullptr,
                                          static_cast<RoiAlignSlopesVersion>(v));
          FRCNN_CHECK_ROUNDING(drois.host(), of_align, align_sizes, terms);
          if (v == 1 && align_bits.empty()) align_bits = drois.host();
          if (v == 1) CHECK(drois.host() == align_bits);
          gpu::precise_roi_backward_rois<B>(nullptr, map, precise, data.count, x.data(),
                                            rois.data(), dy.data(), drois.data(), nullptr,
                                            static_cast<PreciseRoiSlopesVersion>(v));
          FRCNN_CHECK_ROUNDING(drois.host(), of_precise, precise_sizes, terms);
          if (v == 1 && precise_bits.empty()) precise_bits = drois.host();
          if (v == 1) CHECK(drois.host() == precise_bits);
        }
      });
    }
}

TEMPLATE_TEST_CASE("GPU RoI layers with coordinates: rows beyond the count, RoIs that are none",
                   "[roi]", float, double) {
  using T = TestType;
  const T nan = std::numeric_limits<T>::quiet_NaN(), infinity = std::numeric_limits<T>::infinity();
  constexpr int64_t kRois = 8, kLive = 6;
  for (const int64_t block : {1, 8, 36}) {
    const MapLayout map{2, 36, 9, 10, block};
    const PreciseRoiParams precise{3, 2, 0.5, 0.5};
    const RoiAlignParams align{3, 2, 0.5, 0.5, 2, false};
    constexpr size_t kBins = 6;
    // As in roi_gpu_test.cpp: only the first row is a RoI of this batch.
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
    std::vector<T> y(dy.size(), 0), dx(x.size()), drois(rois.size(), 0), aligned(rois.size(), 0);
    cpu::precise_roi_forward(map, precise, 1, x.data(), rois.data(), y.data());
    cpu::precise_roi_backward(map, precise, 1, rois.data(), first_dy.data(), dx.data());
    cpu::precise_roi_backward_rois(map, precise, 1, x.data(), rois.data(), first_dy.data(),
                                   drois.data());
    cpu::roi_align_backward_rois(map, align, 1, x.data(), rois.data(), first_dy.data(),
                                 aligned.data());
    const double tol = 10 * tolerance<T>();
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      const DeviceArray<B, T> map_in(x), rows(rois), gradient(dy), out(dy.size()), to_map(x.size()),
          to_rois(rois.size());
      const DeviceArray<B, int32_t> count(std::vector<int32_t>{kLive});
      for (int v = 0; v < 3; ++v) {
        INFO("block " << block << ", version " << v);
        gpu::precise_roi_forward<B>(nullptr, map, precise, kRois, map_in.data(), rows.data(),
                                    out.data(), count.data(), static_cast<PreciseRoiVersion>(v));
        FRCNN_CHECK_SAME(out.host(), y, tol, tol);
        gpu::precise_roi_backward<B>(nullptr, map, precise, kRois, rows.data(), gradient.data(),
                                     to_map.data(), count.data(),
                                     static_cast<PreciseRoiBackwardVersion>(v));
        FRCNN_CHECK_SAME(to_map.host(), dx, tol, tol);
        if (v == 2) break;
        gpu::precise_roi_backward_rois<B>(nullptr, map, precise, kRois, map_in.data(), rows.data(),
                                          gradient.data(), to_rois.data(), count.data(),
                                          static_cast<PreciseRoiSlopesVersion>(v));
        FRCNN_CHECK_SAME(to_rois.host(), drois, 10 * tol, 10 * tol);
        gpu::roi_align_backward_rois<B>(nullptr, map, align, kRois, map_in.data(), rows.data(),
                                        gradient.data(), to_rois.data(), count.data(),
                                        static_cast<RoiAlignSlopesVersion>(v));
        FRCNN_CHECK_SAME(to_rois.host(), aligned, 10 * tol, 10 * tol);
      }
      gpu::precise_roi_forward<B, T>(nullptr, map, precise, 0, map_in.data(), nullptr, nullptr);
      gpu::precise_roi_backward_rois<B, T>(nullptr, map, precise, 0, map_in.data(), nullptr,
                                           nullptr, nullptr);
      gpu::precise_roi_backward<B, T>(nullptr, map, precise, 0, nullptr, nullptr, to_map.data());
      CHECK(to_map.host() == std::vector<T>(x.size(), 0));
    });
  }
}

TEST_CASE("GPU precise RoI pooling: numerical integration's values and gradients", "[roi]") {
  for (const std::string& name : golden_members("precise_roi", "precise_roi")) {
    const std::string group = "precise_roi/" + name;
    const auto read = [&](const char* array) {
      return golden_f64("precise_roi", group + "/" + array);
    };
    const auto x = read("x"), y = read("y");
    const double scale = golden_attribute("precise_roi", group, "scale");
    const PreciseRoiParams params{y.shape[2], y.shape[3], scale, scale};
    const MapLayout map{x.shape[0], x.shape[1], x.shape[2], x.shape[3], 8};
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      const DeviceArray<B, double> in(blocked<double>(map, x.values)), rois(read("rois").values),
          dy(read("dy").values), out(y.values.size()), drois(rois.size()),
          dx(static_cast<size_t>(map.size()));
      gpu::precise_roi_forward<B>(nullptr, map, params, y.shape[0], in.data(), rois.data(),
                                  out.data());
      FRCNN_CHECK_SAME(out.host(), y.values, 1e-12, 1e-12);
      gpu::precise_roi_backward<B>(nullptr, map, params, y.shape[0], rois.data(), dy.data(),
                                   dx.data());
      FRCNN_CHECK_SAME(dx.host(), blocked<double>(map, read("dx").values), 1e-12, 1e-12);
      gpu::precise_roi_backward_rois<B>(nullptr, map, params, y.shape[0], in.data(), rois.data(),
                                        dy.data(), drois.data());
      FRCNN_CHECK_SAME(drois.host(), read("drois").values, 1e-11, 1e-11);
    });
  }
}
