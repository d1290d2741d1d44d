// Precise RoI pooling, and gradients by the coordinates of RoIs of both differentiable RoI layers.
#include "kernels/pooling/precise_roi.h"

#include "kernels/launch/check.h"
#include "kernels/pooling/roi_align.h"
#include "tests/kernels/map_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

template <typename T>
std::vector<T> cast(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

/// y of a layer for RoIs, and its gradient by them for a cotangent; all in float64.
struct Layer {
  std::function<std::vector<double>(const std::vector<double>& rois)> forward;
  std::function<std::vector<double>(const std::vector<double>& rois, const std::vector<double>& dy)>
      backward;
};

constexpr int64_t kChannels = 3, kHeight = 9, kWidth = 11;
constexpr MapLayout kMap{2, kChannels, kHeight, kWidth, 8};

Layer precise(const PreciseRoiParams& p, const std::vector<double>& x) {
  const auto size = [=](const std::vector<double>& rois) {
    return rois.size() / 5 * static_cast<size_t>(kChannels * p.pooled_h * p.pooled_w);
  };
  return {[=](const std::vector<double>& rois) {
            std::vector<double> y(size(rois));
            cpu::precise_roi_forward(kMap, p, static_cast<int64_t>(rois.size() / 5), x.data(),
                                     rois.data(), y.data());
            return y;
          },
          [=](const std::vector<double>& rois, const std::vector<double>& dy) {
            GuardedBuffer<double> drois(rois.size());
            cpu::precise_roi_backward_rois(kMap, p, static_cast<int64_t>(rois.size() / 5), x.data(),
                                           rois.data(), dy.data(), drois.data());
            CHECK(drois.guards_intact());
            return values_of(drois);
          }};
}

Layer align(const RoiAlignParams& p, const std::vector<double>& x) {
  const auto size = [=](const std::vector<double>& rois) {
    return rois.size() / 5 * static_cast<size_t>(kChannels * p.pooled_h * p.pooled_w);
  };
  return {[=](const std::vector<double>& rois) {
            std::vector<double> y(size(rois));
            cpu::roi_align_forward(kMap, p, static_cast<int64_t>(rois.size() / 5), x.data(),
                                   rois.data(), y.data());
            return y;
          },
          [=](const std::vector<double>& rois, const std::vector<double>& dy) {
            GuardedBuffer<double> drois(rois.size());
            cpu::roi_align_backward_rois(kMap, p, static_cast<int64_t>(rois.size() / 5), x.data(),
                                         rois.data(), dy.data(), drois.data());
            CHECK(drois.guards_intact());
            return values_of(drois);
          }};
}

/// Whether a sample of RoIAlign on this axis, or the number of samples, changes its piece of the
/// interpolation within `room` cells.
bool near_kink(double low, double high, double scale, const RoiAlignParams& p, int64_t bins,
               double room) {
  const double start = low * scale - (p.aligned ? 0.5 : 0);
  double size = (high - low) * scale;
  const auto near_whole = [&](double v) { return std::abs(v - std::round(v)) < room; };
  if (!p.aligned && std::abs(size - 1) < room) return true;
  if (!p.aligned) size = std::max(size, 1.0);
  const double bin = size / static_cast<double>(bins);
  if (p.sampling_ratio <= 0 && near_whole(bin)) return true;
  const double grid = p.sampling_ratio > 0 ? static_cast<double>(p.sampling_ratio) : std::ceil(bin);
  for (int64_t b = 0; b < bins; ++b)
    for (double i = 0; i < grid; ++i)
      if (near_whole(start + static_cast<double>(b) * bin + (i + 0.5) * bin / grid)) return true;
  return false;
}

/// RoIs over the map and its border, of all sizes from a third of a cell.
std::vector<double> random_rois(size_t count, double scale_y, double scale_x, uint64_t seed) {
  const auto u = random_vector<double>(5 * count, 0, 1, seed);
  std::vector<double> rois;
  for (size_t r = 0; r < count; ++r) {
    const double w = (0.3 + u[5 * r + 2] * 9) / scale_x, h = (0.3 + u[5 * r + 3] * 7) / scale_y;
    const double x = (u[5 * r] * 1.2 * kWidth - 2) / scale_x;
    const double y = (u[5 * r + 1] * 1.2 * kHeight - 2) / scale_y;
    for (const double v : {std::floor(2 * u[5 * r + 4]), x, y, x + w, y + h}) rois.push_back(v);
  }
  return rois;
}

/// Central differences by every coordinate against the layer's own gradient.
void check_coordinates(const Layer& layer, const std::vector<double>& rois, uint64_t seed) {
  const std::vector<double> y = layer.forward(rois);
  const auto dy = random_vector<double>(y.size(), -1, 1, seed);
  const std::vector<double> actual = layer.backward(rois, dy);
  const size_t per_roi = y.size() / (rois.size() / 5);
  int nonzero = 0;
  for (size_t i = 0; i < rois.size(); ++i) {
    INFO("RoI " << i / 5 << ", coordinate " << i % 5);
    if (i % 5 == 0) {
      CHECK(actual[i] == 0);
      continue;
    }
    const double step = 1e-6;
    auto moved = rois;
    moved[i] = rois[i] + step;
    const std::vector<double> above = layer.forward(moved);
    moved[i] = rois[i] - step;
    const std::vector<double> below = layer.forward(moved);
    double expected = 0;
    for (size_t k = i / 5 * per_roi; k < (i / 5 + 1) * per_roi; ++k)
      expected += dy[k] * (above[k] - below[k]) / (2 * step);
    CHECK(std::abs(actual[i] - expected) <= 1e-5 * std::abs(expected) + 1e-7);
    nonzero += expected != 0;
  }
  CHECK(nonzero > static_cast<int>(rois.size()) / 4);
}

}  // namespace

TEMPLATE_TEST_CASE("A17: precise RoI pooling equals numerical integration, forward and backward",
                   "", float, double) {
  using T = TestType;
  for (const std::string& name : golden_members("precise_roi", "precise_roi")) {
    const std::string group = "precise_roi/" + name;
    const auto x = golden_f64("precise_roi", group + "/x");
    const auto y = golden_f64("precise_roi", group + "/y");
    const auto rois = cast<T>(golden_f64("precise_roi", group + "/rois").values);
    const auto dy = cast<T>(golden_f64("precise_roi", group + "/dy").values);
    const double scale = golden_attribute("precise_roi", group, "scale");
    const PreciseRoiParams params{y.shape[2], y.shape[3], scale, scale};
    // Bounds of bins lie at up to 15 cells, whose rounding narrow bins magnify.
    const double tol = sizeof(T) == 8 ? 1e-12 : 1e-4;
    for (const int64_t block : {int64_t{1}, int64_t{8}, int64_t{16}, x.shape[1]}) {
      INFO(name << " block " << block);
      const MapLayout map{x.shape[0], x.shape[1], x.shape[2], x.shape[3], block};
      const auto input = blocked<T>(map, x.values);
      GuardedBuffer<T> out(y.values.size()), drois(rois.size());
      OutputMap<T> dx(map);
      cpu::precise_roi_forward(map, params, y.shape[0], input.data(), rois.data(), out.data());
      CHECK(out.guards_intact());
      FRCNN_CHECK_SAME(values_of(out), y.values, tol, tol);
      cpu::precise_roi_backward(map, params, y.shape[0], rois.data(), dy.data(), dx.data());
      FRCNN_CHECK_SAME(dx.result(), golden_f64("precise_roi", group + "/dx").values, tol, tol);
      cpu::precise_roi_backward_rois(map, params, y.shape[0], input.data(), rois.data(), dy.data(),
                                     drois.data());
      CHECK(drois.guards_intact());
      FRCNN_CHECK_SAME(values_of(drois), golden_f64("precise_roi", group + "/drois").values,
                       10 * tol, 10 * tol);
    }
  }
}

TEST_CASE("A17: precise RoI pooling, finite differences by x1, y1, x2, y2 in float64") {
  for (const auto& [pooled_h, pooled_w, scale] :
       {std::tuple{7, 7, 1.0 / 16}, {2, 3, 0.3}, {1, 1, 1.0}, {5, 4, 1.0 / 8}}) {
    const auto x = blocked<double>(
        kMap,
        random_vector<double>(static_cast<size_t>(2 * kChannels * kHeight * kWidth), -1, 1, 3));
    const PreciseRoiParams p{pooled_h, pooled_w, scale, 0.9 * scale};
    INFO(pooled_h << "x" << pooled_w << " bins, scale " << scale);
    check_coordinates(precise(p, x), random_rois(40, p.scale_y, p.scale_x, 5), 6);
  }
}

TEST_CASE("A17: RoIAlign, finite differences by x1, y1, x2, y2 in float64, away from its kinks") {
  const auto x = blocked<double>(
      kMap, random_vector<double>(static_cast<size_t>(2 * kChannels * kHeight * kWidth), -1, 1, 3));
  for (const bool aligned : {true, false})
    for (const int64_t ratio : {0, 1, 2, 3})
      for (const auto& [pooled_h, pooled_w, scale] :
           {std::tuple{7, 7, 1.0 / 16}, {2, 3, 0.3}, {1, 2, 1.0}}) {
        const RoiAlignParams p{pooled_h, pooled_w, scale, 0.9 * scale, ratio, aligned};
        INFO("aligned " << aligned << ", ratio " << ratio << ", " << pooled_h << "x" << pooled_w);
        std::vector<double> rois;
        const std::vector<double> all = random_rois(80, p.scale_y, p.scale_x, 5);
        for (size_t r = 0; r < all.size(); r += 5)
          if (!near_kink(all[r + 2], all[r + 4], p.scale_y, p, pooled_h, 1e-5) &&
              !near_kink(all[r + 1], all[r + 3], p.scale_x, p, pooled_w, 1e-5))
            rois.insert(rois.end(), all.begin() + static_cast<std::ptrdiff_t>(r),
                        all.begin() + static_cast<std::ptrdiff_t>(r + 5));
        CHECK(rois.size() > 200);
        check_coordinates(align(p, x), rois, 6);
      }
}

TEST_CASE("RoIAlign's coordinates: what is held constant") {
  std::vector<double> x(static_cast<size_t>(kMap.size()), 0);
  for_elements(kMap, [&](size_t at, size_t plain) {
    x[at] = static_cast<double>(plain % kWidth);  // grows by 1 per column
  });
  const std::vector<double> ones(kChannels, 1);
  // Narrower than a cell: without the half pixel it is widened to 1 and moves with x1 alone.
  const std::vector<double> narrow = {0, 3.1, 2.2, 3.3, 5.7};
  const auto legacy = align({1, 1, 1, 1, 2, false}, x).backward(narrow, ones);
  FRCNN_CHECK_SAME(legacy, std::vector<double>{0, 3, 0, 0, 0}, 1e-12, 1e-12);
  const auto half_pixel = align({1, 1, 1, 1, 2, true}, x).backward(narrow, ones);
  FRCNN_CHECK_SAME(half_pixel, std::vector<double>{0, 1.5, 0, 1.5, 0}, 1e-12, 1e-12);
  // Samples at the border cells or beyond do not move.
  const std::vector<double> outside = {0, -0.9, 2.2, -0.1, 5.7};
  FRCNN_CHECK_SAME(align({1, 1, 1, 1, 2, true}, x).backward(outside, ones),
                   std::vector<double>(5, 0.0), 0, 0);
}

TEST_CASE("precise RoI pooling: the mean of a plane, RoIs of no area, bad RoIs, threads") {
  const MapLayout map{1, 1, 6, 8, 1};
  std::vector<double> plane(48);
  for (size_t i = 0; i < 48; ++i)
    plane[i] = 2.0 * static_cast<double>(i / 8) - static_cast<double>(i % 8);
  // A linear map: every bin is the value at its centre, and moves with it.
  const std::vector<double> roi = {0, 1.25, 0.5, 6.25, 4.5};
  GuardedBuffer<double> y(4), drois(5);
  cpu::precise_roi_forward(map, {2, 2, 1, 1}, 1, plane.data(), roi.data(), y.data());
  FRCNN_CHECK_SAME(values_of(y), std::vector<double>{0.5, -2, 4.5, 2}, 1e-12, 1e-12);
  const std::vector<double> ones(4, 1);
  cpu::precise_roi_backward_rois(map, {2, 2, 1, 1}, 1, plane.data(), roi.data(), ones.data(),
                                 drois.data());
  FRCNN_CHECK_SAME(values_of(drois), std::vector<double>{0, -2, 4, -2, 4}, 1e-12, 1e-12);

  // No area, turned inside out, outside: zeros everywhere, whatever the gradient.
  const std::vector<double> none = {0, 3, 1, 3, 4, 0, 3, 2, 5, 2, 0, 5, 1, 3, 4, 0, 20, 1, 30, 4};
  const std::vector<double> dy(16, 1);
  GuardedBuffer<double> nothing(16), dx(48), dnone(20);
  cpu::precise_roi_forward(map, {2, 2, 1, 1}, 4, plane.data(), none.data(), nothing.data());
  CHECK(values_of(nothing) == std::vector<double>(16, 0));
  cpu::precise_roi_backward(map, {2, 2, 1, 1}, 4, none.data(), dy.data(), dx.data());
  CHECK(values_of(dx) == std::vector<double>(48, 0));
  cpu::precise_roi_backward_rois(map, {2, 2, 1, 1}, 4, plane.data(), none.data(), dy.data(),
                                 dnone.data());
  CHECK(values_of(dnone) == std::vector<double>(20, 0));
  cpu::precise_roi_backward<double>(map, {2, 2, 1, 1}, 0, nullptr, nullptr, dx.data());
  CHECK(values_of(dx) == std::vector<double>(48, 0));
  cpu::precise_roi_forward<double>(map, {}, 0, plane.data(), nullptr, nullptr);
  cpu::precise_roi_backward_rois<double>(map, {}, 0, plane.data(), nullptr, nullptr, nullptr);
  const std::vector<double> bad = {0, 1, 1, std::nan(""), 4};
  CHECK_THROWS_WITH(cpu::precise_roi_forward(map, {}, 1, plane.data(), bad.data(), y.data()),
                    mentions("[precise_roi] expected finite RoIs"));
  CHECK_THROWS_WITH(cpu::precise_roi_forward(map, {0, 2}, 1, plane.data(), roi.data(), y.data()),
                    mentions("[precise_roi] expected positive sizes"));

  const MapLayout big{2, 40, kHeight, kWidth, 16};
  const auto x = random_vector<float>(static_cast<size_t>(big.size()), -1, 1, 5);
  const auto rois = cast<float>(random_rois(30, 1.0 / 16, 1.0 / 16, 7));
  const auto gradient = random_vector<float>(size_t{30} * 40 * 49, -1, 1, 6);
  check_thread_independent([&] {
    std::vector<float> all(gradient.size()), map_gradient(x.size()), roi_gradient(rois.size());
    cpu::precise_roi_forward(big, {}, 30, x.data(), rois.data(), all.data());
    cpu::precise_roi_backward(big, {}, 30, rois.data(), gradient.data(), map_gradient.data());
    cpu::precise_roi_backward_rois(big, {}, 30, x.data(), rois.data(), gradient.data(),
                                   roi_gradient.data());
    all.insert(all.end(), map_gradient.begin(), map_gradient.end());
    all.insert(all.end(), roi_gradient.begin(), roi_gradient.end());
    return all;
  });
}

TEST_CASE("precise RoI pooling: finite differences by the map") {
  const std::vector<double> rois = random_rois(5, 1, 0.9, 8);
  const PreciseRoiParams p{2, 3, 1, 0.9};
  const auto x =
      random_vector<double>(static_cast<size_t>(2 * kChannels * kHeight * kWidth), -1, 1, 3);
  const auto dy = random_vector<double>(size_t{5} * 3 * 6, -1, 1, 4);
  OutputMap<double> dx(kMap);
  cpu::precise_roi_backward(kMap, p, 5, rois.data(), dy.data(), dx.data());
  check_gradient(
      [&](const std::vector<double>& values) {
        return precise(p, blocked<double>(kMap, values)).forward(rois);
      },
      x, dy, dx.result());
}
