#include "kernels/launch/check.h"
#include "kernels/norm/batch_norm.h"
#include "tests/gpu/map_gpu_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

// Channels that fill no tile; pixels that are no multiple of a pack; one pixel per image. Pieces: a
// channel of 2 x 70 x 32 is two in NCHW and 18 elsewhere, one of 97 x 90 is three and 35, more than
// the second stage takes at once.
struct Case {
  MapLayout map;  ///< its block is replaced
  bool relu;
};
const Case kCases[] = {{{2, 5, 9, 7, 1}, false},  {{1, 20, 6, 6, 1}, true},
                       {{2, 130, 1, 2, 1}, true}, {{2, 3, 70, 32, 1}, true},
                       {{9, 36, 1, 1, 1}, false}, {{1, 2, 97, 90, 1}, false}};

/// The naive version knows neither tiles nor pieces, and is slow.
bool too_large(BatchNormVersion version, const MapLayout& map) {
  return version == BatchNormVersion::naive && (map.c > 100 || map.h > 90);
}

constexpr BatchNormVersion kVersions[] = {BatchNormVersion::naive, BatchNormVersion::two_stage,
                                          BatchNormVersion::vector};

template <typename To, typename From>
std::vector<To> cast(const std::vector<From>& values) {
  return {values.begin(), values.end()};
}

/// A batch normalisation with its inputs, in T as a GPU gets them.
template <typename T>
struct Norm {
  MapLayout map;
  BatchNormParams params{1e-5, 0.1, false};
  std::vector<T> x, dy, gamma, beta, mean, var;
  Norm(const MapLayout& layout, bool relu) : map(layout) {
    params.relu = relu;
    const auto channels = static_cast<size_t>(map.c);
    x = random_map<T>(map, 3, 7, 1);  // a mean far from 0
    dy = random_map<T>(map, -1, 1, 2);
    gamma = random_vector<T>(channels, 0.5, 2, 3), beta = random_vector<T>(channels, -1, 1, 4);
    mean = random_vector<T>(channels, 3, 7, 5), var = random_vector<T>(channels, 0.5, 3, 6);
  }
};

/// What sums in double give, whatever T: the CPU in double on the same numbers.
struct Reference {
  std::vector<double> y, saved_mean, saved_rstd, mean, var, dx, dgamma, dbeta;
};
template <typename T>
Reference train_forward(const Norm<T>& n) {
  const auto x = cast<double>(n.x), gamma = cast<double>(n.gamma), beta = cast<double>(n.beta);
  Reference r;
  r.y.resize(x.size());
  r.saved_mean.resize(gamma.size()), r.saved_rstd.resize(gamma.size());
  r.mean = cast<double>(n.mean), r.var = cast<double>(n.var);
  cpu::batch_norm_train_forward(n.map, n.params, x.data(), gamma.data(), beta.data(), r.y.data(),
                                r.saved_mean.data(), r.saved_rstd.data(), r.mean.data(),
                                r.var.data());
  return r;
}

/// (|x| + |mean|) |factor| + |shift|, the size of what is added up for y; for dx with dx = true
/// |factor| (|dy| + |shift| + (|x| + |mean|) |slope|) with bounds for shift and slope.
template <typename T>
std::vector<T> sizes(const Norm<T>& n, const std::vector<double>& mean,
                     const std::vector<double>& rstd, bool dx) {
  std::vector<T> result(n.x.size(), T(0));
  const auto pixels = static_cast<size_t>(n.map.h * n.map.w);
  for_elements(n.map, [&](size_t at, size_t plain) {
    const size_t c = plain / pixels % static_cast<size_t>(n.map.c);
    const double spread = (std::abs(static_cast<double>(n.x[at])) + std::abs(mean[c])) * rstd[c];
    const double factor = static_cast<double>(n.gamma[c]);
    result[at] = static_cast<T>(dx ? factor * rstd[c] * (2 + spread)
                                   : spread * factor + std::abs(static_cast<double>(n.beta[c])));
  });
  return result;
}

template <typename T>
constexpr double kTerms = sizeof(T) == 8 ? 64 : 6;  // the reference rounds as double does
template <typename T>
constexpr double kOnce = sizeof(T) == 8 ? 1e-12 : 1.2e-7;  // one rounding

}  // namespace

TEMPLATE_TEST_CASE("GPU batch normalisation in training: forward and backward", "[norm]", float,
                   double) {
  using T = TestType;
  for (const Case& c : kCases)
    for (const MapLayout& map : layouts_of(c.map)) {
      if (sizeof(T) == 8 && map.block != 1 && map.block != map.c) continue;  // time: float has them
      if (map.block == 1 && map.c > 100) continue;  // no tiles of channels there
      const bool relu = c.relu;
      const Norm<T> n(map, relu);
      const Reference expected = train_forward(n);
      const auto y_sizes = sizes(n, expected.saved_mean, expected.saved_rstd, false);
      const auto dx_sizes = sizes(n, expected.saved_mean, expected.saved_rstd, true);
      const auto channels = static_cast<size_t>(map.c);
      // Backward from T's own statistics, as the GPU gets them.
      const auto y = cast<T>(expected.y), saved_mean = cast<T>(expected.saved_mean),
                 saved_rstd = cast<T>(expected.saved_rstd);
      std::vector<double> dx(n.x.size()), dgamma(channels), dbeta(channels);
      const auto x64 = cast<double>(n.x), y64 = cast<double>(y), dy64 = cast<double>(n.dy),
                 gamma64 = cast<double>(n.gamma), mean64 = cast<double>(saved_mean),
                 rstd64 = cast<double>(saved_rstd);
      cpu::batch_norm_train_backward(map, n.params, x64.data(), y64.data(), gamma64.data(),
                                     mean64.data(), rstd64.data(), dy64.data(), dx.data(),
                                     dgamma.data(), dbeta.data());
      std::vector<T> bits[3];
      for_backends([&](auto on) {
        constexpr Backend B = decltype(on)::backend;
        const DeviceArray<B, T> x(n.x), gamma(n.gamma), beta(n.beta), dy(n.dy), gy(y),
            gmean(saved_mean), grstd(saved_rstd);
        const DeviceArray<B, unsigned char> work(gpu::batch_norm_workspace(map));
        for (const auto version : kVersions) {
          if (too_large(version, map)) continue;
          INFO(map.n << "x" << map.c << "x" << map.h << "x" << map.w << ", block " << map.block
                     << ", " << kBatchNormVersions[static_cast<int>(version)].name);
          const DeviceArray<B, T> out(n.x.size()), in_place(n.x), mean(n.mean), var(n.var),
              new_mean(channels), new_rstd(channels);
          gpu::batch_norm_train_forward<B>(
              nullptr, map, n.params, x.data(), gamma.data(), beta.data(), out.data(),
              new_mean.data(), new_rstd.data(), mean.data(), var.data(), work.data(), version);
          FRCNN_CHECK_ROUNDING(out.host(), y, y_sizes, kTerms<T>);
          FRCNN_CHECK_SAME(new_mean.values(), expected.saved_mean, kOnce<T>, 0);
          FRCNN_CHECK_SAME(new_rstd.values(), expected.saved_rstd, kOnce<T>, 0);
          FRCNN_CHECK_SAME(mean.values(), expected.mean, kOnce<T>, 0);
          FRCNN_CHECK_SAME(var.values(), expected.var, kOnce<T>, 0);
          auto& first = bits[static_cast<int>(version)];
          if (first.empty()) first = out.host();
          CHECK(out.host() == first);
          gpu::batch_norm_train_forward<B, T>(
              nullptr, map, n.params, in_place.data(), gamma.data(), beta.data(), in_place.data(),
              new_mean.data(), new_rstd.data(), nullptr, nullptr, work.data(), version);
          CHECK(in_place.host() == first);

          const DeviceArray<B, T> gdx(n.x.size()), back(n.dy), gdgamma(channels), gdbeta(channels);
          gpu::batch_norm_train_backward<B>(nullptr, map, n.params, x.data(),
                                            relu ? gy.data() : nullptr, gamma.data(), gmean.data(),
                                            grstd.data(), dy.data(), gdx.data(), gdgamma.data(),
                                            gdbeta.data(), work.data(), version);
          FRCNN_CHECK_ROUNDING(gdx.host(), cast<T>(dx), dx_sizes, kTerms<T>);
          const double count = static_cast<double>(map.n * map.h * map.w);
          FRCNN_CHECK_SAME(gdgamma.values(), dgamma, kOnce<T>, 1e-13 * count);
          FRCNN_CHECK_SAME(gdbeta.values(), dbeta, kOnce<T>, 1e-13 * count);
          // In place, without gradients of gamma and beta.
          gpu::batch_norm_train_backward<B, T>(nullptr, map, n.params, x.data(),
                                               relu ? gy.data() : nullptr, gamma.data(),
                                               gmean.data(), grstd.data(), back.data(), back.data(),
                                               nullptr, nullptr, work.data(), version);
          CHECK(back.host() == gdx.host());
        }
      });
    }
}

TEMPLATE_TEST_CASE("GPU frozen batch normalisation: forward, backward, folded", "[norm]", float,
                   double) {
  using T = TestType;
  for (const Case& c : kCases)
    for (const MapLayout& map : layouts_of(c.map)) {
      if (sizeof(T) == 8 && map.block != 1 && map.block != map.c) continue;  // time: float has them
      if (map.block == 1 && map.c > 100) continue;  // no tiles of channels there
      const bool relu = c.relu;
      const Norm<T> n(map, relu);
      const auto channels = static_cast<size_t>(map.c);
      const auto x64 = cast<double>(n.x), dy64 = cast<double>(n.dy),
                 gamma64 = cast<double>(n.gamma), beta64 = cast<double>(n.beta),
                 mean64 = cast<double>(n.mean), var64 = cast<double>(n.var);
      std::vector<double> y64(x64.size()), dx(x64.size()), dgamma(channels), dbeta(channels),
          rstd(channels), shift(channels);
      cpu::batch_norm_frozen_forward(map, n.params, x64.data(), gamma64.data(), beta64.data(),
                                     mean64.data(), var64.data(), y64.data());
      const auto y = cast<T>(y64);
      y64 = cast<double>(y);
      cpu::batch_norm_frozen_backward(map, n.params, x64.data(), y64.data(), gamma64.data(),
                                      mean64.data(), var64.data(), dy64.data(), dx.data(),
                                      dgamma.data(), dbeta.data());
      for (size_t i = 0; i < channels; ++i) rstd[i] = 1 / std::sqrt(var64[i] + 1e-5);
      const auto y_sizes = sizes(n, mean64, rstd, false), dx_sizes = sizes(n, mean64, rstd, true);
      std::vector<T> scale_t(channels), shift_t(channels);
      cpu::batch_norm_fold(map.c, 1e-5, n.gamma.data(), n.beta.data(), n.mean.data(), n.var.data(),
                           scale_t.data(), shift_t.data());
      for_backends([&](auto on) {
        constexpr Backend B = decltype(on)::backend;
        const DeviceArray<B, T> x(n.x), gamma(n.gamma), beta(n.beta), mean(n.mean), var(n.var),
            dy(n.dy), gy(y);
        const DeviceArray<B, unsigned char> work(gpu::batch_norm_workspace(map));
        for (const auto version : kVersions) {
          if (too_large(version, map)) continue;
          INFO(map.n << "x" << map.c << "x" << map.h << "x" << map.w << ", block " << map.block
                     << ", " << kBatchNormVersions[static_cast<int>(version)].name);
          const DeviceArray<B, T> out(n.x.size()), in_place(n.x);
          gpu::batch_norm_frozen_forward<B>(nullptr, map, n.params, x.data(), gamma.data(),
                                            beta.data(), mean.data(), var.data(), out.data(),
                                            version);
          FRCNN_CHECK_ROUNDING(out.host(), y, y_sizes, kTerms<T>);
          gpu::batch_norm_frozen_forward<B>(nullptr, map, n.params, in_place.data(), gamma.data(),
                                            beta.data(), mean.data(), var.data(), in_place.data(),
                                            version);
          CHECK(in_place.host() == out.host());

          const DeviceArray<B, T> gdx(n.x.size()), back(n.dy), gdgamma(channels), gdbeta(channels);
          const T* mask = relu ? gy.data() : nullptr;
          gpu::batch_norm_frozen_backward<B>(nullptr, map, n.params, x.data(), mask, gamma.data(),
                                             mean.data(), var.data(), dy.data(), gdx.data(),
                                             gdgamma.data(), gdbeta.data(), work.data(), version);
          FRCNN_CHECK_ROUNDING(gdx.host(), cast<T>(dx), dx_sizes, kTerms<T>);
          const double count = static_cast<double>(map.n * map.h * map.w);
          FRCNN_CHECK_SAME(gdgamma.values(), dgamma, kOnce<T>, 1e-13 * count);
          FRCNN_CHECK_SAME(gdbeta.values(), dbeta, kOnce<T>, 1e-13 * count);
          // dx alone, without x; then dbeta alone.
          gpu::batch_norm_frozen_backward<B, T>(nullptr, map, n.params, nullptr, mask, gamma.data(),
                                                mean.data(), var.data(), back.data(), back.data(),
                                                nullptr, nullptr, nullptr, version);
          CHECK(back.host() == gdx.host());
          const DeviceArray<B, T> beta_alone(channels);
          gpu::batch_norm_frozen_backward<B, T>(nullptr, map, n.params, nullptr, mask, gamma.data(),
                                                mean.data(), var.data(), dy.data(), nullptr,
                                                nullptr, beta_alone.data(), work.data(), version);
          CHECK(beta_alone.host() == gdbeta.host());
        }
        const DeviceArray<B, T> scale(channels), shifted(channels);
        gpu::batch_norm_fold<B>(nullptr, map.c, 1e-5, gamma.data(), beta.data(), mean.data(),
                                var.data(), scale.data(), shifted.data());
        FRCNN_CHECK_SAME(scale.host(), scale_t, kOnce<T>, 0);
        FRCNN_CHECK_SAME(shifted.host(), shift_t, kOnce<T>, 1e-15);
      });
    }
}

TEST_CASE("GPU batch normalisation: no gamma, no beta, no workspace, a NaN, one value", "[norm]") {
  const MapLayout map{2, 6, 3, 4, 6};
  Norm<float> n(map, false);
  n.x[2] = std::numeric_limits<float>::quiet_NaN();  // channel 2 of the first pixel
  std::vector<float> y(n.x.size()), mean(6), rstd(6), fy(n.x.size());
  cpu::batch_norm_train_forward<float>(map, n.params, n.x.data(), nullptr, nullptr, y.data(),
                                       mean.data(), rstd.data(), nullptr, nullptr);
  cpu::batch_norm_frozen_forward<float>(map, n.params, n.x.data(), nullptr, nullptr, n.mean.data(),
                                        n.var.data(), fy.data());
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const DeviceArray<B, float> x(n.x), out(y.size()), gmean(n.mean), gvar(n.var), new_mean(6),
        new_rstd(6), dx(y.size());
    const DeviceArray<B, unsigned char> work(gpu::batch_norm_workspace(map));
    for (const auto version : kVersions)
      for (void* workspace : {static_cast<void*>(work.data()), static_cast<void*>(nullptr)}) {
        gpu::batch_norm_train_forward<B, float>(nullptr, map, n.params, x.data(), nullptr, nullptr,
                                                out.data(), new_mean.data(), new_rstd.data(),
                                                nullptr, nullptr, workspace, version);
        FRCNN_CHECK_SAME(out.host(), y, 1e-5, 1e-5, true);
        gpu::batch_norm_frozen_forward<B, float>(nullptr, map, n.params, x.data(), nullptr, nullptr,
                                                 gmean.data(), gvar.data(), out.data(), version);
        FRCNN_CHECK_SAME(out.host(), fy, 1e-6, 1e-6, true);
      }
    const MapLayout one{1, 6, 1, 1, 6};
    CHECK_THROWS_AS((gpu::batch_norm_train_forward<B, float>(
                        nullptr, one, n.params, x.data(), nullptr, nullptr, out.data(),
                        new_mean.data(), new_rstd.data(), nullptr, nullptr, work.data())),
                    Error);
    BatchNormParams relu = n.params;
    relu.relu = true;
    CHECK_THROWS_AS((gpu::batch_norm_frozen_backward<B, float>(
                        nullptr, map, relu, x.data(), nullptr, nullptr, gmean.data(), gvar.data(),
                        x.data(), dx.data(), nullptr, nullptr)),
                    Error);
    CHECK_THROWS_AS((gpu::batch_norm_frozen_backward<B, float>(
                        nullptr, map, n.params, nullptr, nullptr, nullptr, gmean.data(),
                        gvar.data(), x.data(), dx.data(), new_mean.data(), nullptr, work.data())),
                    Error);
  });
}

TEST_CASE("GPU batch normalisation: channels far from zero and from each other", "[norm]") {
  for (const int64_t block : {1, 3}) {
    const MapLayout map{2, 3, 8, 9, block};
    Norm<double> n(map, false);
    for_elements(map, [&](size_t at, size_t plain) {
      n.x[at] += 1e6 * static_cast<double>(plain / 72 % 3);
    });
    const Reference expected = train_forward(n);
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      const DeviceArray<B, double> x(n.x), y(n.x.size()), mean(3), rstd(3);
      const DeviceArray<B, unsigned char> work(gpu::batch_norm_workspace(map));
      for (const auto version : kVersions) {
        INFO("block " << block << ", " << kBatchNormVersions[static_cast<int>(version)].name);
        gpu::batch_norm_train_forward<B, double>(nullptr, map, n.params, x.data(), nullptr, nullptr,
                                                 y.data(), mean.data(), rstd.data(), nullptr,
                                                 nullptr, work.data(), version);
        // Welford's update rounds relative to the mean (Chan, Golub and LeVeque 1983): by kappa =
        // mean / deviation = 2e6 times 2^-53 = 2e-10 a step. Squares of x itself would be 4e-4 off.
        FRCNN_CHECK_SAME(rstd.host(), expected.saved_rstd, 1e-9, 0);
      }
    });
  }
}

TEST_CASE("GPU batch normalisation equals torch's", "[norm]") {
  for (const std::string& name : golden_members("norm", "batch_norm")) {
    const std::string group = "batch_norm/" + name;
    const auto get = [&](const char* what) { return golden_f64("norm", group + "/" + what); };
    const auto number = [&](const char* what) { return golden_attribute("norm", group, what); };
    const auto x = get("x"), y = get("y"), dy = get("dy"), dx = get("dx");
    const BatchNormParams params{1e-5, number("momentum"), number("relu") != 0};
    const MapLayout map{x.shape[0], x.shape[1], x.shape[2], x.shape[3], x.shape[1]};
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      INFO(group);
      const auto channels = static_cast<size_t>(map.c);
      const DeviceArray<B, double> gx(blocked<double>(map, x.values)),
          gdy(blocked<double>(map, dy.values)), gamma(get("gamma").values),
          beta(get("beta").values), mean(get("mean").values), var(get("var").values),
          saved_mean(channels), saved_rstd(channels), gy(x.values.size()), gdx(x.values.size()),
          dgamma(channels), dbeta(channels);
      const DeviceArray<B, unsigned char> work(gpu::batch_norm_workspace(map));
      if (name.starts_with("train")) {
        gpu::batch_norm_train_forward<B>(nullptr, map, params, gx.data(), gamma.data(), beta.data(),
                                         gy.data(), saved_mean.data(), saved_rstd.data(),
                                         mean.data(), var.data(), work.data());
        FRCNN_CHECK_SAME(mean.host(), get("mean_after").values, 1e-12, 1e-12);
        FRCNN_CHECK_SAME(var.host(), get("var_after").values, 1e-12, 1e-12);
        gpu::batch_norm_train_backward<B>(nullptr, map, params, gx.data(), gy.data(), gamma.data(),
                                          saved_mean.data(), saved_rstd.data(), gdy.data(),
                                          gdx.data(), dgamma.data(), dbeta.data(), work.data());
      } else {
        gpu::batch_norm_frozen_forward<B>(nullptr, map, params, gx.data(), gamma.data(),
                                          beta.data(), mean.data(), var.data(), gy.data());
        gpu::batch_norm_frozen_backward<B>(nullptr, map, params, gx.data(), gy.data(), gamma.data(),
                                           mean.data(), var.data(), gdy.data(), gdx.data(),
                                           dgamma.data(), dbeta.data(), work.data());
      }
      FRCNN_CHECK_SAME(gy.host(), blocked<double>(map, y.values), 1e-12, 1e-12);
      FRCNN_CHECK_SAME(gdx.host(), blocked<double>(map, dx.values), 1e-12, 1e-12);
      FRCNN_CHECK_SAME(dgamma.host(), get("dgamma").values, 1e-12, 1e-11);
      FRCNN_CHECK_SAME(dbeta.host(), get("dbeta").values, 1e-12, 1e-11);
    });
  }
}
