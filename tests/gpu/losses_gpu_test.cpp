// Losses on a GPU against the CPU versions and torch's values.
#include <cmath>
#include <limits>

#include "kernels/launch/check.h"
#include "kernels/losses/box_loss.h"
#include "kernels/losses/cross_entropy.h"
#include "tests/gpu/gpu_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

constexpr SoftmaxVersion kSoftmax[] = {SoftmaxVersion::naive, SoftmaxVersion::warp,
                                       SoftmaxVersion::registers};
constexpr BoxLossVersion kBox[] = {BoxLossVersion::naive, BoxLossVersion::coordinates};
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// Probabilities: the sums of a row in another order (double), one rounding to T.
template <typename T>
constexpr double kClose = sizeof(T) == 4 ? 2.5e-7 : 1e-14;
/// Sums of a loss: double, in another order.
constexpr double kSum = 1e-12;

/// Labels -1 .. classes - 1.
std::vector<int32_t> labels_of(size_t rows, int64_t classes) {
  std::vector<int32_t> labels(rows);
  for (size_t r = 0; r < rows; ++r)
    labels[r] = static_cast<int32_t>(static_cast<int64_t>(r * 7919 % 1000) % (classes + 1)) - 1;
  return labels;
}
std::vector<int32_t> golden_labels(const std::string& name) {
  const auto values = golden_i64("losses", name + "/labels").values;
  return {values.begin(), values.end()};
}

/// Memory that every loss needs.
template <Backend B>
struct Scalars {
  DeviceArray<B, unsigned char> work{gpu::kLossWorkspace};
  DeviceArray<B, double> loss{1}, factor{std::vector<double>{0.25}};
  DeviceArray<B, FiniteFlag> flag{std::vector<FiniteFlag>(1)};
  Scalars() { work.zero(); }
  FiniteCheck finite(int64_t step, int number) const {
    return {flag.data(), nullptr, step, number};
  }
  double value() const { return loss.host()[0]; }
  FiniteFlag seen() const { return flag.host()[0]; }
};

}  // namespace

TEMPLATE_TEST_CASE("GPU softmax cross-entropy equals the CPU's, all versions and sizes", "", float,
                   double) {
  using T = TestType;
  struct Size {
    size_t rows;
    int64_t classes;
  };
  for (const auto& [rows, classes] :
       {Size{0, 3}, Size{1, 1}, Size{5, 2}, Size{300, 2}, Size{7, 5}, Size{40, 21}, Size{9, 32},
        Size{9, 33}, Size{6, 128}, Size{6, 129}, Size{3, 400}}) {
    const auto n = static_cast<int64_t>(rows);
    const size_t size = rows * static_cast<size_t>(classes);
    const auto x = random_vector<T>(size, -6, 6, rows + 1), w = random_vector<T>(rows, 0.5, 2, 3);
    const auto labels = labels_of(rows, classes);
    for (const bool weighted : {false, true}) {
      if (weighted && size > 300) continue;
      std::vector<T> p(size), row_losses(rows), dx(size), soft(size);
      const double loss =
          cpu::softmax_cross_entropy_forward(n, classes, x.data(), labels.data(), p.data(),
                                             weighted ? w.data() : nullptr, row_losses.data());
      cpu::softmax_cross_entropy_backward(n, classes, 0.5, p.data(), labels.data(), dx.data(),
                                          weighted ? w.data() : nullptr);
      cpu::softmax(n, classes, x.data(), soft.data());
      std::vector<double> seen;
      for_backends([&](auto on) {
        constexpr Backend B = decltype(on)::backend;
        const Scalars<B> s;
        const DeviceArray<B, T> ddx(x), dw(w), dp(size), losses(rows), out(size);
        const DeviceArray<B, int32_t> dl(labels);
        const T* weights = weighted ? dw.data() : nullptr;
        std::vector<double> run;
        for (const auto version : kSoftmax) {
          INFO(rows << " x " << classes << (weighted ? " weighted " : " ")
                    << kSoftmaxVersions[static_cast<int>(version)].name);
          gpu::softmax_cross_entropy_forward<B>(
              nullptr, n, classes, {2.0, s.factor.data()}, ddx.data(), dl.data(), dp.data(),
              s.loss.data(), s.work.data(), weights, losses.data(), s.finite(3, 1), version);
          run.push_back(s.value());
          FRCNN_CHECK_SAME(std::vector<double>{run.back()}, std::vector<double>{0.5 * loss}, kSum,
                           1e-13);
          FRCNN_CHECK_SAME(dp.host(), p, kClose<T>, 0);
          FRCNN_CHECK_SAME(losses.host(), row_losses, 4 * kClose<T>, 4 * kClose<T>);
          const DeviceArray<B, T> alone(rows);
          gpu::softmax_cross_entropy_forward<B, T>(nullptr, n, classes, 0.5, ddx.data(), dl.data(),
                                                   nullptr, s.loss.data(), s.work.data(), weights,
                                                   alone.data(), {}, version);
          FRCNN_CHECK_SAME(alone.host(), losses.host(), 0, 0);
          CHECK(s.value() == run.back());
          gpu::softmax<B>(nullptr, n, classes, ddx.data(), out.data(), version);
          FRCNN_CHECK_SAME(out.host(), soft, kClose<T>, 0);
          const DeviceArray<B, T> in_place(x);
          gpu::softmax<B>(nullptr, n, classes, in_place.data(), in_place.data(), version);
          FRCNN_CHECK_SAME(in_place.host(), out.host(), 0, 0);
        }
        if (seen.empty()) seen = run;
        CHECK(run == seen);  // the same bits under every schedule
        CHECK(s.seen().all_finite());
        // The gradient is one product per element: of equal probabilities, equal bits.
        const DeviceArray<B, T> same(p);
        gpu::softmax_cross_entropy_backward<B>(nullptr, n, classes, {2.0, s.factor.data()},
                                               same.data(), dl.data(), out.data(), weights);
        FRCNN_CHECK_SAME(out.host(), dx, 0, 0);
        gpu::softmax_cross_entropy_backward<B>(nullptr, n, classes, 0.5, same.data(), dl.data(),
                                               same.data(), weights);
        FRCNN_CHECK_SAME(same.host(), dx, 0, 0);
      });
    }
  }
}

TEMPLATE_TEST_CASE("GPU sigmoid cross-entropy equals the CPU's", "", float, double) {
  using T = TestType;
  for (const size_t count : {0, 1, 255, 1000}) {
    const auto n = static_cast<int64_t>(count);
    auto x = random_vector<T>(count, -8, 8, count + 2);
    if (count > 9) x[8] = T(900), x[9] = T(-900);
    const auto labels = labels_of(count, 2);
    std::vector<T> y(count), dx(count);
    const double loss = cpu::sigmoid_cross_entropy_forward(n, x.data(), labels.data());
    cpu::sigmoid_cross_entropy_backward(n, 0.5, x.data(), labels.data(), dx.data());
    cpu::sigmoid(n, x.data(), y.data());
    double seen = kNan;
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      INFO(count);
      const Scalars<B> s;
      const DeviceArray<B, T> ddx(x), out(count);
      const DeviceArray<B, int32_t> dl(labels);
      gpu::sigmoid_cross_entropy_forward<B>(nullptr, n, {2.0, s.factor.data()}, ddx.data(),
                                            dl.data(), s.loss.data(), s.work.data(),
                                            s.finite(0, 0));
      FRCNN_CHECK_SAME(std::vector<double>{s.value()}, std::vector<double>{0.5 * loss}, kSum,
                       1e-13);
      if (std::isnan(seen)) seen = s.value();
      CHECK(s.value() == seen);
      CHECK(s.seen().all_finite());
      gpu::sigmoid_cross_entropy_backward<B>(nullptr, n, {2.0, s.factor.data()}, ddx.data(),
                                             dl.data(), out.data());
      FRCNN_CHECK_SAME(out.host(), dx, 2 * kClose<T>, kClose<T>);
      gpu::sigmoid<B>(nullptr, n, ddx.data(), out.data());
      FRCNN_CHECK_SAME(out.host(), y, 2 * kClose<T>, 0);
    });
  }
}

TEMPLATE_TEST_CASE("GPU box loss equals the CPU's, all penalties and versions", "", float, double) {
  using T = TestType;
  for (const size_t rows : {0, 1, 77, 600})
    for (const int64_t groups : {1, 5})
      for (const auto& [penalty, sigma] : {std::pair{BoxPenalty::smooth_l1, 1.0},
                                           {BoxPenalty::smooth_l1, 3.0},
                                           {BoxPenalty::l1, 1.0},
                                           {BoxPenalty::mse, 1.0}}) {
        const BoxLossParams params{penalty, sigma, groups};
        const auto n = static_cast<int64_t>(rows);
        const size_t width = 4 * static_cast<size_t>(groups);
        auto x = random_vector<T>(rows * width, -2, 2, rows + 3);
        const auto targets = random_vector<T>(rows * 4, -2, 2, rows + 4);
        if (rows > 4) std::copy_n(targets.begin(), 16, x.begin());  // differences of 0
        const auto labels = labels_of(rows, groups == 1 ? 9 : groups);
        std::vector<T> dx(rows * width);
        const double loss =
            cpu::box_loss_forward(params, n, x.data(), targets.data(), labels.data());
        cpu::box_loss_backward(params, n, 0.5, x.data(), targets.data(), labels.data(), dx.data());
        std::vector<double> seen;
        for_backends([&](auto on) {
          constexpr Backend B = decltype(on)::backend;
          const Scalars<B> s;
          const DeviceArray<B, T> ddx(x), dt(targets), out(dx.size());
          const DeviceArray<B, int32_t> dl(labels);
          std::vector<double> run;
          for (const auto version : kBox) {
            INFO(rows << " rows, " << groups << " groups, "
                      << kBoxLossVersions[static_cast<int>(version)].name);
            gpu::box_loss_forward<B>(nullptr, params, n, {2.0, s.factor.data()}, ddx.data(),
                                     dt.data(), dl.data(), s.loss.data(), s.work.data(),
                                     s.finite(0, 0), version);
            run.push_back(s.value());
            FRCNN_CHECK_SAME(std::vector<double>{run.back()}, std::vector<double>{0.5 * loss}, kSum,
                             1e-13);
            gpu::box_loss_backward<B>(nullptr, params, n, {2.0, s.factor.data()}, ddx.data(),
                                      dt.data(), dl.data(), out.data(), version);
            FRCNN_CHECK_SAME(out.host(), dx, 0, 0);
          }
          if (seen.empty()) seen = run;
          CHECK(run == seen);
          CHECK(s.seen().all_finite());
        });
      }
}

TEST_CASE("A7 GPU losses: values and gradients equal torch's") {
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const Scalars<B> s;
    for (const std::string name : {"softmax_pairs", "softmax_voc", "sigmoid", "smooth_l1_1_1",
                                   "smooth_l1_3_5", "l1_5", "mse_1"}) {
      INFO(name);
      const auto x = golden_f64("losses", name + "/x").values;
      const auto dx = golden_f64("losses", name + "/dx").values;
      const auto labels = golden_labels(name);
      const auto rows = static_cast<int64_t>(labels.size());
      const DeviceArray<B, double> ddx(x), p(x.size()), out(x.size());
      const DeviceArray<B, int32_t> dl(labels);
      if (name.rfind("softmax", 0) == 0) {
        const auto classes = static_cast<int64_t>(x.size()) / rows;
        gpu::softmax_cross_entropy_forward<B>(nullptr, rows, classes, 1, ddx.data(), dl.data(),
                                              p.data(), s.loss.data(), s.work.data());
        gpu::softmax_cross_entropy_backward<B>(nullptr, rows, classes, 1, p.data(), dl.data(),
                                               out.data());
      } else if (name == "sigmoid") {
        gpu::sigmoid_cross_entropy_forward<B>(nullptr, rows, 1, ddx.data(), dl.data(),
                                              s.loss.data(), s.work.data());
        gpu::sigmoid_cross_entropy_backward<B>(nullptr, rows, 1, ddx.data(), dl.data(), out.data());
      } else {
        BoxLossParams params;
        params.penalty = name == "l1_5"    ? BoxPenalty::l1
                         : name == "mse_1" ? BoxPenalty::mse
                                           : BoxPenalty::smooth_l1;
        params.sigma = name == "smooth_l1_3_5" ? 3 : 1;
        params.groups = name.back() - '0';
        const DeviceArray<B, double> targets(golden_f64("losses", name + "/targets").values);
        gpu::box_loss_forward<B>(nullptr, params, rows, 1, ddx.data(), targets.data(), dl.data(),
                                 s.loss.data(), s.work.data());
        gpu::box_loss_backward<B>(nullptr, params, rows, 1, ddx.data(), targets.data(), dl.data(),
                                  out.data());
      }
      const double expected = golden_attribute("losses", name, "loss");
      CHECK(std::abs(s.value() - expected) <= 1e-12 * expected);
      FRCNN_CHECK_SAME(out.host(), dx, 1e-11, 1e-13);
    }
  });
}

TEST_CASE("GPU losses: the mean over samples that the device counts") {
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    std::vector<int32_t> many(77, 3);
    const DeviceArray<B, int32_t> counts(std::vector<int32_t>{3, 40, 0, 21}),
        zero(std::vector<int32_t>{0, 0}), dmany(many);
    const DeviceArray<B, double> scale(1);
    gpu::loss_scale<B>(nullptr, 2.0, 4, counts.data(), scale.data());
    CHECK(scale.host()[0] == 2.0 / 64);
    gpu::loss_scale<B>(nullptr, 1.0, 77, dmany.data(), scale.data());
    CHECK(scale.host()[0] == 1.0 / 231);
    gpu::loss_scale<B>(nullptr, 1.0, 2, zero.data(), scale.data());
    CHECK(scale.host()[0] == 1.0);
    gpu::loss_scale<B>(nullptr, 1.0, 0, counts.data(), scale.data());
    CHECK(scale.host()[0] == 1.0);
  });
}

TEST_CASE("GPU losses: the first row that is not finite is kept, of the earliest step") {
  const std::vector<int32_t> labels = {1, 0, -1, 1, 0, 1};
  std::vector<float> fine(12, 0.5f), bad = fine;
  bad[2 * 2] = bad[2 * 3] = bad[2 * 5 + 1] = static_cast<float>(kNan);  // row 2 does not count
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    for (const auto version : kSoftmax) {
      const Scalars<B> s;
      const DeviceArray<B, float> good(fine), rotten(bad), p(12);
      const DeviceArray<B, int32_t> dl(labels);
      const auto forward = [&](const DeviceArray<B, float>& x, const FiniteCheck& finite) {
        gpu::softmax_cross_entropy_forward<B, float>(nullptr, 6, 2, 1, x.data(), dl.data(),
                                                     p.data(), s.loss.data(), s.work.data(),
                                                     nullptr, nullptr, finite, version);
      };
      forward(good, s.finite(6, 2));
      CHECK((s.seen().all_finite() && std::isfinite(s.value())));
      forward(rotten, s.finite(7, 2));
      CHECK(std::isnan(s.value()));
      CHECK((s.seen().step() == 7 && s.seen().check() == 2 && s.seen().index() == 3));
      forward(rotten, s.finite(8, 0));  // later: the first one stays
      CHECK((s.seen().step() == 7 && s.seen().check() == 2 && s.seen().index() == 3));
      // The step from device memory.
      const DeviceArray<B, int64_t> step(std::vector<int64_t>{5});
      forward(rotten, {s.flag.data(), step.data(), 99, 4});
      CHECK((s.seen().step() == 5 && s.seen().check() == 4 && s.seen().index() == 3));
    }
    const Scalars<B> s;
    const DeviceArray<B, float> x(std::vector<float>{0, std::numeric_limits<float>::infinity()});
    const DeviceArray<B, int32_t> dl(std::vector<int32_t>{0, 0}), wrong(std::vector<int32_t>{2, 0}),
        rois(std::vector<int32_t>{0, 3});
    gpu::sigmoid_cross_entropy_forward<B>(nullptr, 2, 1, x.data(), dl.data(), s.loss.data(),
                                          s.work.data(), s.finite(4, 1));
    CHECK((s.seen().step() == 4 && s.seen().index() == 1));
    // Labels beyond the classes are read nowhere and make the loss NaN.
    gpu::sigmoid_cross_entropy_forward<B>(nullptr, 1, 1, x.data(), wrong.data(), s.loss.data(),
                                          s.work.data(), s.finite(3, 1));
    CHECK((std::isnan(s.value()) && s.seen().step() == 3));
    const DeviceArray<B, float> boxes(std::vector<float>(16, 1.0f)), zero(std::vector<float>(8)),
        gradient(16);
    for (const auto version : kBox) {
      gpu::box_loss_forward<B, float>(nullptr, {BoxPenalty::l1, 1, 2}, 2, 1, boxes.data(),
                                      zero.data(), rois.data(), s.loss.data(), s.work.data(),
                                      s.finite(2, 9), version);
      CHECK((std::isnan(s.value()) && s.seen().step() == 2 && s.seen().index() == 1));
      gpu::box_loss_backward<B, float>(nullptr, {BoxPenalty::l1, 1, 2}, 2, 1, boxes.data(),
                                       zero.data(), rois.data(), gradient.data(), version);
      CHECK(gradient.host() == std::vector<float>(16, 0.0f));
      CHECK_THROWS_AS((gpu::box_loss_forward<B, float>(nullptr, {BoxPenalty::smooth_l1, 0, 2}, 2, 1,
                                                       boxes.data(), zero.data(), rois.data(),
                                                       s.loss.data(), s.work.data(), {}, version)),
                      Error);
    }
    const DeviceArray<B, float> two(std::vector<float>{0, 1, 2, 3});  // of two rows
    gpu::softmax_cross_entropy_forward<B, float>(nullptr, 2, 2, 1, two.data(), wrong.data(),
                                                 nullptr, s.loss.data(), s.work.data(), nullptr,
                                                 nullptr, s.finite(1, 1));
    CHECK((std::isnan(s.value()) && s.seen().step() == 1 && s.seen().index() == 0));
  });
}
