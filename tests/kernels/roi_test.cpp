#include "kernels/launch/check.h"
#include "kernels/pooling/roi_align.h"
#include "kernels/pooling/roi_pool.h"
#include "tests/kernels/map_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

template <typename T>
std::vector<T> cast(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

struct RoiCase {
  Golden<double> x, rois, y, dy, dx;
  Golden<float> y_f32;
  double scale;
  explicit RoiCase(const std::string& group)
      : x(golden_f64("pooling", group + "/x")),
        rois(golden_f64("pooling", group + "/rois")),
        y(golden_f64("pooling", group + "/y")),
        dy(golden_f64("pooling", group + "/dy")),
        dx(golden_f64("pooling", group + "/dx")),
        y_f32(golden_f32("pooling", group + "/y_f32")),
        scale(golden_attribute("pooling", group, "scale")) {}
  /// What the reference computes in T.
  template <typename T>
  std::vector<double> expected() const {
    if (sizeof(T) == 8) return y.values;
    return {y_f32.values.begin(), y_f32.values.end()};
  }
};

std::vector<int64_t> layouts_blocks(int64_t channels) {
  return {1, 8, 16, channels};
}

}  // namespace

TEST_CASE("B1 B2 RoI max pooling: the printed example, with bins that overlap") {
  //  0  1  2  3     RoI 0 covers rows 0..2, columns 0..2: bins of 2x2 that share the middle
  //  4  5  6  7     RoI 1 covers rows 1..3, columns 0..2
  //  8  9 10 11
  // 12 13 14 15
  std::vector<float> x(16);
  for (size_t i = 0; i < 16; ++i) x[i] = static_cast<float>(i);
  const std::vector<float> rois = {0, 0, 0, 2, 2, 0, 0, 1, 2, 3};
  const std::vector<float> scaled = {0, 0, 0, 20, 20, 0, 0, 10, 20, 30};
  for (int64_t block : {1, 8, 16}) {
    const MapLayout layout{1, 1, 4, 4, block};
    GuardedBuffer<float> y(8);
    GuardedBuffer<int32_t> argmax(8);
    const auto input = blocked<float>(layout, x);
    cpu::roi_pool_forward(layout, {2, 2, 1.0, 1.0}, 2, input.data(), rois.data(), y.data(),
                          argmax.data());
    const std::vector<double> expected = {5, 6, 9, 10, 9, 10, 13, 14};
    FRCNN_CHECK_SAME(values_of(y), expected, 0, 0);
    CHECK(std::equal(argmax.data(), argmax.data() + 8, expected.begin()));
    CHECK(y.guards_intact());
    CHECK(argmax.guards_intact());
    // The same in image pixels, ten to a cell (B2).
    cpu::roi_pool_forward<float>(layout, {2, 2, 0.1, 0.1}, 2, input.data(), scaled.data(), y.data(),
                                 nullptr);
    FRCNN_CHECK_SAME(values_of(y), expected, 0, 0);
  }
}

TEMPLATE_TEST_CASE("B1 B2 RoI max pooling equals torchvision, forward and backward", "", float,
                   double) {
  for (const std::string& name : golden_members("pooling", "roi_pool")) {
    const RoiCase c("roi_pool/" + name);
    const int64_t rois_count = c.rois.shape[0];
    const auto rois = cast<TestType>(c.rois.values), dy = cast<TestType>(c.dy.values);
    const RoiPoolParams params{c.y.shape[2], c.y.shape[3], c.scale, c.scale};
    for (int64_t block : layouts_blocks(c.x.shape[1])) {
      const MapLayout layout{c.x.shape[0], c.x.shape[1], c.x.shape[2], c.x.shape[3], block};
      INFO(name << " block " << block);
      const auto x = blocked<TestType>(layout, c.x.values);
      GuardedBuffer<TestType> y(c.y.values.size()), inference(c.y.values.size());
      GuardedBuffer<int32_t> argmax(c.y.values.size());
      OutputMap<TestType> dx(layout);
      cpu::roi_pool_forward(layout, params, rois_count, x.data(), rois.data(), y.data(),
                            argmax.data());
      cpu::roi_pool_forward<TestType>(layout, params, rois_count, x.data(), rois.data(),
                                      inference.data(), nullptr);
      CHECK(y.guards_intact());
      CHECK(argmax.guards_intact());
      FRCNN_CHECK_SAME(values_of(y), c.expected<TestType>(), 0, 0);
      FRCNN_CHECK_SAME(values_of(inference), c.expected<TestType>(), 0, 0);
      if (sizeof(TestType) == 4 && c.expected<TestType>() != c.y.values) continue;
      cpu::roi_pool_backward(layout, params, rois_count, rois.data(), dy.data(), argmax.data(),
                             dx.data());
      FRCNN_CHECK_SAME(dx.result(), c.dx.values, 0, 0);
    }
  }
}

TEST_CASE(
    "F8 RoI max pooling: 128 RoIs give (128, 512, 7, 7), 25,088 features, coordinates rounded") {
  const MapLayout layout{1, 512, 12, 13, 16};
  const auto x = random_vector<float>(static_cast<size_t>(layout.size()), -1, 1, 1);
  std::vector<float> rois;
  const auto random = random_vector<float>(4 * 128, 0, 100, 2);
  for (size_t r = 0; r < 128; ++r)
    for (float v : {0.0f, random[4 * r], random[4 * r + 1], random[4 * r] + random[4 * r + 2],
                    random[4 * r + 1] + random[4 * r + 3]})
      rois.push_back(v);
  GuardedBuffer<float> y(size_t{128} * 25088);
  cpu::roi_pool_forward<float>(layout, {}, 128, x.data(), rois.data(), y.data(), nullptr);
  CHECK(y.guards_intact());
  CHECK(std::none_of(y.data(), y.data() + y.size(), [](float v) { return std::isnan(v); }));

  // One cell per pixel: a RoI from 0.6 to 1.4 is cell 1, not cells 0 to 1; 0.5 rounds up.
  const MapLayout line{1, 1, 1, 4, 1};
  const std::vector<float> values = {40, 30, 20, 10};
  const std::vector<float> boxes = {0, 0.6f, 0, 1.4f, 0, 0, 0.5f, 0, 1.5f, 0};
  std::vector<float> out(2);
  cpu::roi_pool_forward<float>(line, {1, 1, 1, 1}, 2, values.data(), boxes.data(), out.data(),
                               nullptr);
  CHECK(out == std::vector<float>{30, 30});
}

TEST_CASE("RoI max pooling: empty bins, NaN, no RoIs, bad RoIs, gradient check") {
  const MapLayout layout{1, 2, 5, 6, 16};
  const auto x = distinct_values(60);
  const auto input = blocked<double>(layout, x);
  // Outside the map: every bin is empty.
  const std::vector<double> outside = {0, 100, 100, 120, 120};
  std::vector<double> y(8, 1.0);
  std::vector<int32_t> argmax(8);
  cpu::roi_pool_forward(layout, {2, 2, 1, 1}, 1, input.data(), outside.data(), y.data(),
                        argmax.data());
  CHECK(y == std::vector<double>(8, 0.0));
  CHECK(argmax == std::vector<int32_t>(8, -1));
  GuardedBuffer<double> zero(static_cast<size_t>(layout.size()));
  cpu::roi_pool_backward(layout, {2, 2, 1, 1}, 1, outside.data(), y.data(), argmax.data(),
                         zero.data());
  CHECK(values_of(zero) == std::vector<double>(zero.size(), 0.0));

  const std::vector<double> rois = {0, 0, 0, 3, 4, 0, 2, 1, 5, 3};
  auto broken = x;
  broken[0] = std::nan("");
  cpu::roi_pool_forward<double>(layout, {1, 1, 1, 1}, 2, blocked<double>(layout, broken).data(),
                                rois.data(), y.data(), nullptr);
  CHECK(std::isnan(y[0]));
  CHECK_FALSE(std::isnan(y[1]));

  cpu::roi_pool_forward<double>(layout, {}, 0, input.data(), nullptr, nullptr, nullptr);
  cpu::roi_pool_backward<double>(layout, {}, 0, nullptr, nullptr, nullptr, zero.data());
  CHECK(values_of(zero) == std::vector<double>(zero.size(), 0.0));
  const std::vector<double> nan_roi = {0, 0, std::nan(""), 3, 4};
  CHECK_THROWS_AS(
      cpu::roi_pool_forward<double>(layout, {}, 1, input.data(), nan_roi.data(), y.data(), nullptr),
      Error);

  const RoiPoolParams params{2, 3, 1, 1};
  const auto cotangent = random_vector<double>(24, -1, 1, 4);
  std::vector<int32_t> at(24);
  const auto forward = [&](const std::vector<double>& values) {
    std::vector<double> out(24);
    cpu::roi_pool_forward(layout, params, 2, blocked<double>(layout, values).data(), rois.data(),
                          out.data(), at.data());
    return out;
  };
  forward(x);
  OutputMap<double> dx(layout);
  cpu::roi_pool_backward(layout, params, 2, rois.data(), cotangent.data(), at.data(), dx.data());
  check_gradient(forward, x, cotangent, dx.result());
}

TEMPLATE_TEST_CASE("E6 RoIAlign equals torchvision, aligned on and off, forward and backward", "",
                   float, double) {
  for (const std::string& name : golden_members("pooling", "roi_align")) {
    const std::string group = "roi_align/" + name;
    const RoiCase c(group);
    const int64_t rois_count = c.rois.shape[0];
    const auto rois = cast<TestType>(c.rois.values), dy = cast<TestType>(c.dy.values);
    const RoiAlignParams params{c.y.shape[2],
                                c.y.shape[3],
                                c.scale,
                                c.scale,
                                static_cast<int64_t>(golden_attribute("pooling", group, "ratio")),
                                golden_attribute("pooling", group, "aligned") != 0};
    for (int64_t block : layouts_blocks(c.x.shape[1])) {
      const MapLayout layout{c.x.shape[0], c.x.shape[1], c.x.shape[2], c.x.shape[3], block};
      INFO(name << " block " << block);
      GuardedBuffer<TestType> y(c.y.values.size());
      OutputMap<TestType> dx(layout);
      cpu::roi_align_forward(layout, params, rois_count,
                             blocked<TestType>(layout, c.x.values).data(), rois.data(), y.data());
      CHECK(y.guards_intact());
      // Absolute part: the map's values reach 4.
      FRCNN_CHECK_SAME(values_of(y), c.expected<TestType>(), tolerance<TestType>(),
                       4 * tolerance<TestType>());
      cpu::roi_align_backward(layout, params, rois_count, rois.data(), dy.data(), dx.data());
      if (sizeof(TestType) == 8) FRCNN_CHECK_SAME(dx.result(), c.dx.values, 1e-12, 1e-12);
      // In float a sample can move by the rounding of a coordinate: about 1e-5 of a cell.
      else
        FRCNN_CHECK_SAME(dx.result(), c.dx.values, 1e-4, 1e-4);
    }
  }
}

TEST_CASE("E6 RoIAlign: 312 RoIs of a 256-channel map give (312, 256, 7, 10)") {
  const MapLayout layout{1, 256, 9, 11, 16};
  const auto x = random_vector<float>(static_cast<size_t>(layout.size()), -1, 1, 1);
  const auto random = random_vector<float>(size_t{4} * 312, 0, 80, 2);
  std::vector<float> rois;
  for (size_t r = 0; r < 312; ++r)
    for (float v : {0.0f, random[4 * r], random[4 * r + 1], random[4 * r] + random[4 * r + 2],
                    random[4 * r + 1] + random[4 * r + 3]})
      rois.push_back(v);
  GuardedBuffer<float> y(size_t{312} * 256 * 70);
  cpu::roi_align_forward(layout, {7, 10, 1.0 / 16, 1.0 / 16, 2, false}, 312, x.data(), rois.data(),
                         y.data());
  CHECK(y.guards_intact());
  CHECK(std::none_of(y.data(), y.data() + y.size(), [](float v) { return std::isnan(v); }));
}

TEST_CASE("RoIAlign: gradient check, no RoIs, bad RoIs, other thread counts") {
  const MapLayout layout{2, 3, 5, 6, 8};
  const std::vector<double> rois = {0, 0.3, 0.2, 3.1, 4.4, 1, -2.0, 1.3, 5.2, 7.7,
                                    1, 2,   2,   2,   2,   0, 4.1,  4.2, 9.0, 8.0};
  for (bool aligned : {false, true})
    for (int64_t ratio : {0, 2}) {
      const RoiAlignParams params{2, 3, 0.9, 1.1, ratio, aligned};
      const auto x = random_vector<double>(180, -1, 1, 3);
      const auto cotangent = random_vector<double>(size_t{4} * 3 * 6, -1, 1, 4);
      const auto forward = [&](const std::vector<double>& values) {
        std::vector<double> y(cotangent.size());
        cpu::roi_align_forward(layout, params, 4, blocked<double>(layout, values).data(),
                               rois.data(), y.data());
        return y;
      };
      OutputMap<double> dx(layout);
      cpu::roi_align_backward(layout, params, 4, rois.data(), cotangent.data(), dx.data());
      check_gradient(forward, x, cotangent, dx.result());
    }

  cpu::roi_align_forward<double>(layout, {}, 0, nullptr, nullptr, nullptr);
  GuardedBuffer<double> zero(static_cast<size_t>(layout.size()));
  cpu::roi_align_backward<double>(layout, {}, 0, nullptr, nullptr, zero.data());
  CHECK(values_of(zero) == std::vector<double>(zero.size(), 0.0));
  const std::vector<double> bad = {0, 0, 0, HUGE_VAL, 4};
  std::vector<double> y(147);
  CHECK_THROWS_AS(cpu::roi_align_forward(layout, {}, 1, zero.data(), bad.data(), y.data()), Error);

  const MapLayout big{2, 40, 13, 17, 16};
  const auto map = random_vector<float>(static_cast<size_t>(big.size()), -1, 1, 5);
  const auto grad = random_vector<float>(size_t{4} * 40 * 49, -1, 1, 6);
  const auto boxes = cast<float>(rois);
  check_thread_independent([&] {
    std::vector<float> out(grad.size()), dx(map.size());
    cpu::roi_align_forward(big, {}, 4, map.data(), boxes.data(), out.data());
    cpu::roi_align_backward(big, {}, 4, boxes.data(), grad.data(), dx.data());
    out.insert(out.end(), dx.begin(), dx.end());
    return out;
  });
}
