#include "kernels/launch/check.h"
#include "kernels/optim/adam.h"
#include "kernels/optim/sgd.h"
#include "tests/kernels/map_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

constexpr size_t kSteps = 6;

/// Runs step(index, lr factor, gradient, weights) over the golden steps: the learning rate drops to
/// a tenth after the third. Compares the weights after each.
template <typename T, typename Step>
void follow(const std::string& group, const Step& step) {
  const auto start = golden_f64("optim", group + "/start");
  const auto gradients = golden_f64("optim", group + "/gradients");
  const auto after = golden_f64("optim", group + "/after");
  const size_t count = start.values.size();
  GuardedBuffer<T> w(count);
  std::copy(start.values.begin(), start.values.end(), w.data());
  for (size_t s = 0; s < kSteps; ++s) {
    INFO(group << " step " << s);
    const std::vector<T> g(gradients.values.begin() + static_cast<std::ptrdiff_t>(s * count),
                           gradients.values.begin() + static_cast<std::ptrdiff_t>((s + 1) * count));
    step(static_cast<int64_t>(s), s < 3 ? 1.0 : 0.1, g, w.data());
    const std::vector<double> expected(
        after.values.begin() + static_cast<std::ptrdiff_t>(s * count),
        after.values.begin() + static_cast<std::ptrdiff_t>((s + 1) * count));
    FRCNN_CHECK_SAME(values_of(w), expected, tolerance<T>(), tolerance<T>());
    CHECK(w.guards_intact());
  }
}

}  // namespace

TEMPLATE_TEST_CASE("A8 SGD with momentum equals torch over several steps and rates", "", float,
                   double) {
  using T = TestType;
  for (const std::string& name : golden_members("optim", "sgd")) {
    const std::string group = "sgd/" + name;
    const auto value = [&](const char* key) { return golden_attribute("optim", group, key); };
    SgdParams params{value("lr"), value("momentum"), value("weight_decay"), 1.0,
                     value("nesterov") != 0};
    GuardedBuffer<T> v(37);
    std::fill_n(v.data(), 37, T(0));
    follow<T>(group, [&](int64_t, double factor, const std::vector<T>& g, T* w) {
      SgdParams now = params;
      now.lr *= factor;
      cpu::sgd_step(37, now, g.data(), w, params.momentum == 0 ? nullptr : v.data());
    });
    CHECK(v.guards_intact());
    // A gradient four times as large with grad_scale 1/4 is the same step.
    std::fill_n(v.data(), 37, T(0));
    follow<T>(group, [&](int64_t, double factor, std::vector<T> g, T* w) {
      SgdParams now = params;
      now.lr *= factor;
      now.grad_scale = 0.25;
      for (T& x : g) x *= 4;
      cpu::sgd_step(37, now, g.data(), w, v.data());
    });
  }
  T w = 1;
  CHECK_THROWS_AS(cpu::sgd_step<T>(1, {}, &w, &w, nullptr), Error);
  cpu::sgd_step<T>(0, {}, nullptr, nullptr, &w);
}

TEMPLATE_TEST_CASE("A8 C7 Adam and AdamW equal torch over several steps and rates", "", float,
                   double) {
  using T = TestType;
  for (const std::string& name : golden_members("optim", "adam")) {
    const std::string group = "adam/" + name;
    const auto value = [&](const char* key) { return golden_attribute("optim", group, key); };
    const AdamParams params{value("lr"),
                            value("beta1"),
                            value("beta2"),
                            value("epsilon"),
                            value("weight_decay"),
                            1.0,
                            value("decoupled") != 0};
    for (double scale : {1.0, 0.5}) {
      GuardedBuffer<T> m(37), v(37);
      std::fill_n(m.data(), 37, T(0));
      std::fill_n(v.data(), 37, T(0));
      follow<T>(group, [&](int64_t step, double factor, std::vector<T> g, T* w) {
        AdamParams now = params;
        now.lr *= factor;
        now.grad_scale = scale;
        for (T& x : g) x = static_cast<T>(static_cast<double>(x) / scale);
        cpu::adam_step(37, now, step + 1, g.data(), w, m.data(), v.data());
      });
      CHECK((m.guards_intact() && v.guards_intact()));
    }
  }
  T w = 1;
  CHECK_THROWS_AS(cpu::adam_step<T>(1, {}, 0, &w, &w, &w, &w), Error);
}
