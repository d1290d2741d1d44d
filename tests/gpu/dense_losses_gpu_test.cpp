// Kernels of the GIoU loss, of one-vs-all labels, of focal losses and of moving averages on a GPU:
// every version against the CPU's. (Values of torch: tests/engine/dense_losses_test.cpp.)
#include <cmath>
#include <limits>

#include "kernels/launch/check.h"
#include "kernels/losses/cross_entropy.h"
#include "kernels/losses/giou.h"
#include "kernels/optim/ema.h"
#include "tests/gpu/gpu_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

template <typename T>
constexpr double kClose = sizeof(T) == 4 ? 1e-6 : 1e-13;

std::vector<int32_t> labels_of(size_t rows, int64_t classes) {
  std::vector<int32_t> labels(rows);
  for (size_t r = 0; r < rows; ++r)
    labels[r] = static_cast<int32_t>(static_cast<int64_t>(r * 7919 % 1000) % (classes + 1)) - 1;
  return labels;
}

template <Backend B>
struct LossMemory {
  DeviceArray<B, unsigned char> work{gpu::kLossWorkspace};
  DeviceArray<B, double> loss{1}, factor{std::vector<double>{0.25}};
  DeviceArray<B, FiniteFlag> flag{std::vector<FiniteFlag>(1)};
  LossMemory() { work.zero(); }
  double value() const { return loss.host()[0]; }
};

}  // namespace

TEMPLATE_TEST_CASE("GPU GIoU loss equals the CPU's, all versions and sizes", "", float, double) {
  using T = TestType;
  for (const size_t rows : {0, 1, 255, 700})
    for (const int64_t groups : {1, 4}) {
      GiouParams p;
      p.groups = groups;
      p.codec.mean = {0.1, 0, -0.1, 0};
      p.codec.std = {0.5, 1, 0.5, 1};
      const auto n = static_cast<int64_t>(rows);
      const size_t width = static_cast<size_t>(4 * groups);
      const auto x = random_vector<T>(rows * width, -2, 2, rows + 1);
      const auto targets = random_vector<T>(rows * 4, -1, 1, rows + 2);
      const auto labels = labels_of(rows, groups == 1 ? 4 : groups - 1);
      std::vector<T> dx(rows * width);
      const double loss = cpu::giou_loss_forward(p, n, x.data(), targets.data(), labels.data());
      cpu::giou_loss_backward(p, n, 0.5, x.data(), targets.data(), labels.data(), dx.data());
      for_backends([&](auto on) {
        constexpr Backend B = decltype(on)::backend;
        INFO(rows << " rows, " << groups << " groups");
        const LossMemory<B> m;
        const DeviceArray<B, T> px(x), pt(targets);
        const DeviceArray<B, int32_t> pl(labels);
        gpu::giou_loss_forward<B>(nullptr, p, n, {2.0, m.factor.data()}, px.data(), pt.data(),
                                  pl.data(), m.loss.data(), m.work.data(),
                                  {m.flag.data(), nullptr, 0, 0});
        FRCNN_CHECK_SAME(std::vector<double>{m.value()}, std::vector<double>{0.5 * loss}, 1e-12,
                         1e-13);
        CHECK(m.flag.host()[0].all_finite());
        for (const auto version : {GiouVersion::naive, GiouVersion::columns}) {
          const DeviceArray<B, T> out(rows * width);
          gpu::giou_loss_backward<B>(nullptr, p, n, {2.0, m.factor.data()}, px.data(), pt.data(),
                                     pl.data(), out.data(), version);
          FRCNN_CHECK_SAME(out.host(), dx, kClose<T>, kClose<T>);
        }
      });
    }
}

TEST_CASE("GPU GIoU loss: rows that are not finite are noted, labels beyond the groups are NaN") {
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const LossMemory<B> m;
    std::vector<float> x(16, 0.f);
    x[13] = std::numeric_limits<float>::quiet_NaN();
    const DeviceArray<B, float> px(x), pt(std::vector<float>(16)), out(16);
    const DeviceArray<B, int32_t> pl(std::vector<int32_t>{0, 1, -1, 1});
    gpu::giou_loss_forward<B>(nullptr, {}, 4, 1, px.data(), pt.data(), pl.data(), m.loss.data(),
                              m.work.data(), {m.flag.data(), nullptr, 7, 2});
    CHECK(std::isnan(m.value()));
    CHECK((m.flag.host()[0].step() == 7 && m.flag.host()[0].index() == 3));
    GiouParams two;
    two.groups = 2;
    const DeviceArray<B, int32_t> beyond(std::vector<int32_t>{1, 2});
    gpu::giou_loss_forward<B>(nullptr, two, 2, 1, pt.data(), pt.data(), beyond.data(),
                              m.loss.data(), m.work.data());
    CHECK(std::isnan(m.value()));
    gpu::giou_loss_backward<B>(nullptr, two, 2, 1, px.data(), pt.data(), beyond.data(), out.data());
    CHECK(out.host()[12] == 0);
  });
  const std::vector<double> x(8, 0.0);
  const std::vector<int32_t> beyond = {2};
  GiouParams two;
  two.groups = 2;
  CHECK_THROWS_AS(cpu::giou_loss_forward(two, 1, x.data(), x.data(), beyond.data()), Error);
}

TEMPLATE_TEST_CASE("GPU focal losses equal the CPU's, every version of the softmax", "", float,
                   double) {
  using T = TestType;
  for (const int64_t classes : {2, 21, 200}) {
    const int64_t rows = 77;
    const Focal focal{2, 0.25};
    const auto x = random_vector<T>(static_cast<size_t>(rows * classes), -4, 4, 31);
    const auto labels = labels_of(77, classes);
    std::vector<T> p(x.size()), dx(x.size());
    const double loss = cpu::softmax_cross_entropy_forward<T>(
        rows, classes, x.data(), labels.data(), p.data(), nullptr, nullptr, focal);
    cpu::softmax_cross_entropy_backward<T>(rows, classes, 0.5, p.data(), labels.data(), dx.data(),
                                           nullptr, focal);
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      for (const auto version :
           {SoftmaxVersion::naive, SoftmaxVersion::warp, SoftmaxVersion::registers}) {
        const LossMemory<B> m;
        const DeviceArray<B, T> px(x), pp(x.size());
        const DeviceArray<B, int32_t> pl(labels);
        gpu::softmax_cross_entropy_forward<B, T>(
            nullptr, rows, classes, {2.0, m.factor.data()}, px.data(), pl.data(), pp.data(),
            m.loss.data(), m.work.data(), nullptr, nullptr, {}, version, focal);
        FRCNN_CHECK_SAME(std::vector<double>{m.value()}, std::vector<double>{0.5 * loss}, 1e-11,
                         1e-13);
        gpu::softmax_cross_entropy_backward<B, T>(nullptr, rows, classes, {2.0, m.factor.data()},
                                                  pp.data(), pl.data(), pp.data(), nullptr, focal);
        FRCNN_CHECK_SAME(pp.host(), dx, kClose<T>, kClose<T>);  // in place
      }
    });
  }
}

TEST_CASE("GPU one-vs-all labels are the CPU's") {
  for (const int64_t classes : {1, 2, 21}) {
    const auto labels = labels_of(300, classes);
    std::vector<int32_t> expected(300 * static_cast<size_t>(classes));
    cpu::one_vs_all_labels(300, classes, labels.data(), expected.data());
    if (classes == 2) CHECK((expected[0] == -1 && expected[1] == (labels[0] < 0 ? -1 : labels[0])));
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      const DeviceArray<B, int32_t> pl(labels), out(expected.size());
      gpu::one_vs_all_labels<B>(nullptr, 300, classes, pl.data(), out.data());
      CHECK(out.host() == expected);
    });
  }
}

TEMPLATE_TEST_CASE("GPU moving average: both versions give the bits of the equation", "", float,
                   double) {
  using T = TestType;
  CHECK(ema_decay(0.999, 1) == 2.0 / 11);
  CHECK(ema_decay(0.999, 1000000) == 0.999);
  CHECK(ema_decay(0, 5) == 0);
  for (const size_t count : {0, 1, 3, 4, 1000, 1027}) {
    const auto w = random_vector<T>(count, -1, 1, 1), before = random_vector<T>(count, -1, 1, 2);
    auto expected = before, on_cpu = before;
    const T rest = static_cast<T>(1 - ema_decay(0.9, 12));
    for (size_t i = 0; i < count; ++i) {
      volatile T difference = w[i] - expected[i];  // rounded by itself
      volatile T product = rest * difference;
      expected[i] = expected[i] + product;
    }
    cpu::ema_step(static_cast<int64_t>(count), 0.9, 12, w.data(), on_cpu.data());
    FRCNN_CHECK_SAME(on_cpu, expected, kClose<T>, kClose<T>);
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      const DeviceArray<B, StepScalars> scalars(std::vector<StepScalars>{{1, 1, 1, 12}});
      for (const auto version : {EmaVersion::naive, EmaVersion::vector})
        for (const bool from_device : {false, true}) {
          const DeviceArray<B, T> pw(w), average(before);
          gpu::ema_step<B>(nullptr, static_cast<int64_t>(count), 0.9, from_device ? 0 : 12,
                           pw.data(), average.data(), from_device ? scalars.data() : nullptr, {},
                           version);
          FRCNN_CHECK_SAME(average.host(), expected, 0, 0);
        }
      if (count < 1000) return;
      // Nothing changes after an earlier failure.
      const DeviceArray<B, FiniteFlag> flag(
          std::vector<FiniteFlag>{FiniteFlag{FiniteFlag::pack(3, 0, 0)}});
      const DeviceArray<B, T> pw(w), average(before);
      gpu::ema_step<B>(nullptr, static_cast<int64_t>(count), 0.9, 12, pw.data(), average.data(),
                       nullptr, {flag.data(), nullptr, 4, 0});
      FRCNN_CHECK_SAME(average.host(), before, 0, 0);
    });
  }
}
