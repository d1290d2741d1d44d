// Optimisers on a GPU against the CPU versions, torch's values and the equations themselves.
#include <cmath>
#include <limits>

#include "kernels/launch/check.h"
#include "kernels/optim/adam.h"
#include "kernels/optim/gradients.h"
#include "kernels/optim/sgd.h"
#include "tests/gpu/gpu_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

constexpr size_t kCounts[] = {0, 1, 3, 4, 257, 3001};

/// The CPU's vector code fuses products and sums where the machine can: a few last places of the
/// largest term.
template <typename T>
constexpr double kFused = sizeof(T) == 4 ? 1e-6 : 2e-15;
/// Powers in double differ in the last place between a GPU and the host.
template <Backend B, typename T>
constexpr double kPower = B == Backend::emulated ? 0
                          : sizeof(T) == 4       ? 2e-7
                                                 : 1e-14;

/// Every operation of SGD rounded by itself; this file is compiled without fused operations.
template <typename T>
void sgd_by_hand(const SgdParams& p, const std::vector<T>& g, std::vector<T>& w,
                 std::vector<T>* v) {
  const T lr = T(p.lr), momentum = T(p.momentum), decay = T(p.weight_decay),
          scale = T(p.grad_scale);
  for (size_t i = 0; i < g.size(); ++i) {
    const T gradient = scale * g[i] + decay * w[i];
    T step = gradient;
    if (v) {
      (*v)[i] = momentum * (*v)[i] + gradient;
      step = p.nesterov ? gradient + momentum * (*v)[i] : (*v)[i];
    }
    w[i] -= lr * step;
  }
}

template <typename T>
void adam_by_hand(const AdamParams& p, int64_t t, const std::vector<T>& g, std::vector<T>& w,
                  std::vector<T>& m, std::vector<T>& v) {
  const double steps = static_cast<double>(t);
  const T keep = T(p.decoupled ? 1 - p.lr * p.weight_decay : 1.0);
  const T decay = T(p.decoupled ? 0 : p.weight_decay), scale = T(p.grad_scale);
  const T step = T(p.lr / (1 - std::pow(p.beta1, steps)));
  const T root = T(1 / std::sqrt(1 - std::pow(p.beta2, steps)));
  for (size_t i = 0; i < g.size(); ++i) {
    const T gradient = scale * g[i] + decay * w[i];
    m[i] = T(p.beta1) * m[i] + T(1 - p.beta1) * gradient;
    v[i] = T(p.beta2) * v[i] + T(1 - p.beta2) * gradient * gradient;
    w[i] = keep * w[i] - step * m[i] / (std::sqrt(v[i]) * root + T(p.epsilon));
  }
}

/// What the golden files hold of one optimiser.
struct Followed {
  std::string group;
  std::vector<double> start, gradients, after;
  explicit Followed(const std::string& name)
      : group(name),
        start(golden_f64("optim", name + "/start").values),
        gradients(golden_f64("optim", name + "/gradients").values),
        after(golden_f64("optim", name + "/after").values) {}
  double value(const char* key) const { return golden_attribute("optim", group, key); }
  size_t count() const { return start.size(); }
  size_t steps() const { return after.size() / count(); }
  std::vector<double> row(const std::vector<double>& rows, size_t step) const {
    const auto first = rows.begin() + static_cast<std::ptrdiff_t>(step * count());
    return {first, first + static_cast<std::ptrdiff_t>(count())};
  }
};

}  // namespace

TEMPLATE_TEST_CASE("GPU SGD: every version gives the bits of the equation, and the CPU's", "",
                   float, double) {
  using T = TestType;
  for (const size_t count : kCounts)
    for (const bool with_velocity : {true, false})
      for (const bool nesterov : {false, true}) {
        SgdParams p;
        p.lr = 0.03;
        p.grad_scale = 0.7;
        p.nesterov = nesterov && with_velocity;
        if (!with_velocity || count == 0) p.momentum = 0;  // an empty array has no address
        const auto n = static_cast<int64_t>(count);
        const auto g = random_vector<T>(count, -1, 1, 1);
        auto w = random_vector<T>(count, -1, 1, 2), v = random_vector<T>(count, -1, 1, 3);
        const auto w0 = w, v0 = v;
        auto w_cpu = w, v_cpu = v;
        sgd_by_hand(p, g, w, with_velocity ? &v : nullptr);
        cpu::sgd_step(n, p, g.data(), w_cpu.data(), with_velocity ? v_cpu.data() : nullptr);
        FRCNN_CHECK_SAME(w, w_cpu, kFused<T>, kFused<T>);
        for_backends([&](auto on) {
          constexpr Backend B = decltype(on)::backend;
          const DeviceArray<B, StepScalars> scalars(std::vector<StepScalars>{{0.3, 0.5, 0.25, 12}});
          for (const auto version : {SgdVersion::naive, SgdVersion::vector})
            for (const bool from_device : {false, true}) {
              INFO(count << " elements, " << kSgdVersions[static_cast<int>(version)].name);
              SgdParams given = p;
              if (from_device) given.lr = p.lr / 0.3, given.grad_scale = p.grad_scale * 8;
              const DeviceArray<B, T> dg(g), dw(w0), dv(v0);
              gpu::sgd_step<B>(nullptr, n, given, dg.data(), dw.data(),
                               with_velocity ? dv.data() : nullptr,
                               from_device ? scalars.data() : nullptr, {}, version);
              FRCNN_CHECK_SAME(dw.host(), w, 0, 0);
              FRCNN_CHECK_SAME(dv.host(), v, 0, 0);
            }
          if (count > 4) {  // not aligned to 16 bytes
            const DeviceArray<B, T> dg(g), dw(w0), dv(v0);
            gpu::sgd_step<B>(nullptr, n - 1, p, dg.data() + 1, dw.data() + 1,
                             with_velocity ? dv.data() + 1 : nullptr);
            auto expected = w;
            expected[0] = w0[0];
            FRCNN_CHECK_SAME(dw.host(), expected, 0, 0);
          }
        });
      }
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    CHECK_THROWS_AS((gpu::sgd_step<B, T>(nullptr, 1, {}, nullptr, nullptr, nullptr)), Error);
  });
}

TEMPLATE_TEST_CASE("GPU Adam: every version gives the bits of the equation, and the CPU's", "",
                   float, double) {
  using T = TestType;
  for (const size_t count : kCounts)
    for (const bool decoupled : {false, true}) {
      AdamParams p;
      p.lr = 0.02;
      p.weight_decay = 0.01;
      p.grad_scale = 0.7;
      p.decoupled = decoupled;
      const auto n = static_cast<int64_t>(count);
      const auto g = random_vector<T>(count, -1, 1, 1);
      auto w = random_vector<T>(count, -1, 1, 2), m = random_vector<T>(count, -1, 1, 3),
           v = random_vector<T>(count, 0, 1, 4);
      const auto w0 = w, m0 = m, v0 = v;
      auto w_cpu = w, m_cpu = m, v_cpu = v;
      adam_by_hand(p, 12, g, w, m, v);
      cpu::adam_step(n, p, 12, g.data(), w_cpu.data(), m_cpu.data(), v_cpu.data());
      FRCNN_CHECK_SAME(w, w_cpu, kFused<T>, kFused<T>);
      for_backends([&](auto on) {
        constexpr Backend B = decltype(on)::backend;
        const DeviceArray<B, StepScalars> scalars(std::vector<StepScalars>{{0.5, 0.5, 0.25, 12}});
        for (const auto version : {AdamVersion::naive, AdamVersion::vector})
          for (const bool from_device : {false, true}) {
            INFO(count << " elements, " << kAdamVersions[static_cast<int>(version)].name);
            AdamParams given = p;
            if (from_device) given.lr = p.lr * 2, given.grad_scale = p.grad_scale * 8;
            const DeviceArray<B, T> dg(g), dw(w0), dm(m0), dv(v0);
            gpu::adam_step<B>(nullptr, n, given, from_device ? 0 : 12, dg.data(), dw.data(),
                              dm.data(), dv.data(), from_device ? scalars.data() : nullptr, {},
                              version);
            const double power = from_device ? kPower<B, T> : 0;
            FRCNN_CHECK_SAME(dw.host(), w, power, power);
            FRCNN_CHECK_SAME(dm.host(), m, 0, 0);
            FRCNN_CHECK_SAME(dv.host(), v, 0, 0);
          }
      });
    }
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    CHECK_THROWS_AS((gpu::adam_step<B, T>(nullptr, 1, {}, 0, nullptr, nullptr, nullptr, nullptr)),
                    Error);
  });
}

TEST_CASE("A8 GPU optimisers equal torch over several steps, rates read from device memory") {
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    for (const std::string method : {"sgd", "adam"})
      for (const std::string& name : golden_members("optim", method)) {
        const Followed f(method + "/" + name);
        INFO(f.group);
        const DeviceArray<B, double> w(f.start), state1(std::vector<double>(f.count())),
            state2(std::vector<double>(f.count()));
        // As a captured graph would run: the same calls each step, only device memory changes.
        const DeviceArray<B, StepScalars> scalars(std::vector<StepScalars>(1));
        for (size_t step = 0; step < f.steps(); ++step) {
          if (step == 3) {
            StepScalars now = scalars.host()[0];
            now.lr = 0.1;
            gpu::copy_to_device<B>(nullptr, scalars.data(), &now, sizeof now);
          }
          const DeviceArray<B, double> g(f.row(f.gradients, step));
          const auto n = static_cast<int64_t>(f.count());
          if (method == "sgd") {
            const SgdParams p{f.value("lr"), f.value("momentum"), f.value("weight_decay"), 1.0,
                              f.value("nesterov") != 0};
            gpu::sgd_step<B>(nullptr, n, p, g.data(), w.data(), state1.data(), scalars.data());
          } else {
            const AdamParams p{f.value("lr"),
                               f.value("beta1"),
                               f.value("beta2"),
                               f.value("epsilon"),
                               f.value("weight_decay"),
                               1.0,
                               f.value("decoupled") != 0};
            gpu::adam_step<B>(nullptr, n, p, 0, g.data(), w.data(), state1.data(), state2.data(),
                              scalars.data());
          }
          gpu::advance_step<B>(nullptr, scalars.data());
          FRCNN_CHECK_SAME(w.host(), f.row(f.after, step), 1e-12, 1e-12);
        }
        CHECK(scalars.host()[0].step == static_cast<int64_t>(f.steps()) + 1);
      }
  });
}

TEST_CASE("GPU gradients: norm, clipping and the first that is not finite, without the host") {
  for (const size_t count : {0, 1, 1000, 5003}) {
    const auto g = random_vector<float>(count, -1, 1, 5);
    double squares = 0;
    for (const float x : g) squares += static_cast<double>(x) * static_cast<double>(x);
    std::vector<double> seen;
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      INFO(count);
      const DeviceArray<B, float> dg(g);
      DeviceArray<B, unsigned char> work(gpu::kGradientWorkspace);
      work.zero();
      const DeviceArray<B, double> sums(2), norm(1);
      const DeviceArray<B, FiniteFlag> flag(std::vector<FiniteFlag>(1));
      const DeviceArray<B, StepScalars> scalars(std::vector<StepScalars>{{1, 2, 77, 1}});
      for (int bucket = 0; bucket < 2; ++bucket)
        gpu::check_gradients<B>(nullptr, static_cast<int64_t>(count), dg.data(),
                                {flag.data(), nullptr, 3, bucket}, sums.data() + bucket,
                                work.data());
      FRCNN_CHECK_SAME(sums.host(), std::vector<double>({squares, squares}), 1e-13, 0);
      if (seen.empty()) seen = sums.host();
      CHECK(sums.host() == seen);
      CHECK(flag.host()[0].all_finite());
      // grad_scale 0.5 * 2: the norm is that of both buckets.
      const double length = std::sqrt(2 * squares);
      for (const double most : {0.5 * length + 1e-3, 2 * length + 1}) {
        gpu::clip_gradients<B>(nullptr, 2, sums.data(), 0.5, most, scalars.data(), norm.data());
        const double clip = length > most ? most / length : 1;
        FRCNN_CHECK_SAME(norm.host(), std::vector<double>{length}, 1e-13, 0);
        FRCNN_CHECK_SAME(std::vector<double>{scalars.host()[0].clip}, std::vector<double>{clip},
                         1e-13, 0);
      }
      if (count < 900) return;
      auto bad = g;
      bad[600] = -std::numeric_limits<float>::infinity();
      bad[899] = std::numeric_limits<float>::quiet_NaN();
      const DeviceArray<B, float> rotten(bad);
      gpu::check_gradients<B>(nullptr, static_cast<int64_t>(count), rotten.data(),
                              {flag.data(), nullptr, 4, 1}, nullptr, nullptr);
      const FiniteFlag found = flag.host()[0];
      CHECK((found.step() == 4 && found.check() == 1 && found.index() == 600));
    });
  }
}

TEST_CASE("GPU optimisers: nothing changes after a failure; a bad element is left and noted") {
  constexpr size_t kCount = 700;
  auto g = random_vector<float>(kCount, -1, 1, 1);
  const auto w0 = random_vector<float>(kCount, -1, 1, 2),
             s0 = random_vector<float>(kCount, 0, 1, 3);
  g[0] = std::numeric_limits<float>::quiet_NaN();
  g[650] = std::numeric_limits<float>::infinity();
  const auto same = [](const std::vector<float>& a, const std::vector<float>& b) {
    return difference(a, b, 0, 0, true) == "";
  };
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    for (const bool adam : {false, true})
      for (const int version : {0, 1}) {
        INFO((adam ? "adam " : "sgd ") << version);
        const DeviceArray<B, float> dg(g), w(w0), m(s0), v(s0);
        const DeviceArray<B, FiniteFlag> flag(std::vector<FiniteFlag>(1));
        const auto step = [&](int64_t number, int check) {
          const FiniteCheck finite{flag.data(), nullptr, number, check};
          if (adam)
            gpu::adam_step<B>(nullptr, kCount, {}, 1, dg.data(), w.data(), m.data(), v.data(),
                              nullptr, finite, static_cast<AdamVersion>(version));
          else
            gpu::sgd_step<B>(nullptr, kCount, {}, dg.data(), w.data(), v.data(), nullptr, finite,
                             static_cast<SgdVersion>(version));
        };
        step(9, 3);
        const auto after = w.host(), state = v.host();
        CHECK((flag.host()[0].step() == 9 && flag.host()[0].index() == 0));
        for (size_t i = 0; i < kCount; ++i)
          if ((after[i] == w0[i]) != (i == 0 || i == 650)) FAIL_CHECK("element " << i);
        CHECK((state[0] == s0[0] && state[650] == s0[650] && state[6] != s0[6]));
        // The same check again goes on (it is not earlier than itself), the next one does not.
        step(9, 3);
        CHECK_FALSE(same(w.host(), after));
        const auto last = w.host(), last_state = v.host();
        step(9, 4);
        step(10, 0);
        CHECK((same(w.host(), last) && same(v.host(), last_state)));
        step(8, 200);  // before the failure
        CHECK_FALSE(same(w.host(), last));
      }
  });
  // The flag holds the earliest in order of step, check, index; too large ones stay the last.
  CHECK(FiniteFlag{}.all_finite());
  CHECK(FiniteFlag::pack(1, 255, FiniteFlag::kMostIndex) < FiniteFlag::pack(2, 0, 0));
  CHECK(FiniteFlag::pack(1, 1, 9) < FiniteFlag::pack(1, 2, 0));
  CHECK(FiniteFlag{FiniteFlag::pack(int64_t{1} << 40, 3, 5)}.step() == FiniteFlag::kMostStep);
  CHECK(FiniteFlag{FiniteFlag::pack(2, 3, int64_t{1} << 40)}.index() == FiniteFlag::kMostIndex);
}
