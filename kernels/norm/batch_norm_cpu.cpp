// Batch normalisation over pieces of the map (map_pieces.h). Statistics: mean and squared deviation
// of each piece while it is in cache, merged in order in double; so one pass over memory is enough.
#include "kernels/norm/batch_norm.h"

#include <array>
#include <cmath>

#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"
#include "kernels/launch/simd.h"
#include "kernels/norm/map_pieces.h"

namespace frcnn::kernels::cpu {
namespace {

constexpr int kMost = 16;  // lanes of a piece

/// Two numbers per lane of a piece.
struct LaneSums {
  std::array<double, kMost> first, second;
};

/// Per-channel factors, as many as there are channels with padding; zero for the padding.
template <typename T>
struct PerChannel {
  std::vector<T> mean, factor, shift;
  explicit PerChannel(const MapLayout& map)
      : mean(static_cast<size_t>(map.blocks() * map.block)), factor(mean), shift(mean) {}
};

/// Calls body<lanes> for a piece.
template <typename Body>
void for_lanes(int lanes, const Body& body) {
  if (lanes == 16)
    body(std::integral_constant<int, 16>{});
  else if (lanes == 8)
    body(std::integral_constant<int, 8>{});
  else
    body(std::integral_constant<int, 1>{});
}

/// Runs body(piece index, lanes) over all pieces.
template <typename Body>
void for_pieces(const std::vector<MapPiece>& pieces, const Body& body) {
  parallel_for(static_cast<int64_t>(pieces.size()), 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const MapPiece& piece = pieces[static_cast<size_t>(i)];
      for_lanes(piece.lanes, [&](auto lanes) { body(static_cast<size_t>(i), piece, lanes); });
    }
  });
}

/// N numbers as parts, with what the loops below do to them.
template <typename T, int N>
struct Lanes {
  using P = Parts<T, N>;
  using Vec = typename P::V::Vec;
  Vec part[P::kCount];

  /// The numbers from p on, or the first of them in all lanes.
  FRCNN_INLINE void load(const T* p, bool broadcast) {
    for (int k = 0; k < P::kCount; ++k)
      part[k] = broadcast ? Vec{} + *p : FRCNN_LOAD(Vec, p + k * P::kLanes);
  }
  FRCNN_INLINE double lane(int j) const {
    if constexpr (N == 1)
      return static_cast<double>(part[0]);
    else
      return static_cast<double>(part[j / P::kLanes][j % P::kLanes]);
  }
};

/// first = mean, second = sum of squared deviations from it, per lane.
template <typename T, int N>
FRCNN_SIMD void moments(const MapPiece& piece, const T* x, LaneSums& sums) {
  using P = Parts<T, N>;
  using Vec = typename P::V::Vec;
  const T* p = x + piece.offset;
  const T count = static_cast<T>(piece.steps);
  Lanes<T, N> mean = {}, squares = {}, rest = {};
  for (int64_t i = 0; i < piece.steps; ++i)
    for (int k = 0; k < P::kCount; ++k)
      mean.part[k] += FRCNN_LOAD(Vec, p + i * piece.stride + k * P::kLanes);
  for (int k = 0; k < P::kCount; ++k) mean.part[k] /= count;
  for (int64_t i = 0; i < piece.steps; ++i)
    for (int k = 0; k < P::kCount; ++k) {
      const Vec d = FRCNN_LOAD(Vec, p + i * piece.stride + k * P::kLanes) - mean.part[k];
      squares.part[k] += d * d;
      rest.part[k] += d;
    }
  // What rounding left over from the mean goes back into it, and its square out of the second
  // moment.
  for (int j = 0; j < N; ++j) {
    const double left = rest.lane(j), steps = static_cast<double>(piece.steps);
    sums.first[static_cast<size_t>(j)] = mean.lane(j) + left / steps;
    sums.second[static_cast<size_t>(j)] = std::max(0.0, squares.lane(j) - left * left / steps);
  }
}

/// y = (x - mean) * factor + shift, with ReLU if asked.
template <typename T, int N, bool kRelu>
FRCNN_SIMD void normalize(const MapPiece& piece, bool broadcast, const PerChannel<T>& channels,
                          const T* x, T* y) {
  using P = Parts<T, N>;
  using Vec = typename P::V::Vec;
  Lanes<T, N> mean, factor, shift;
  mean.load(channels.mean.data() + piece.channel, broadcast);
  factor.load(channels.factor.data() + piece.channel, broadcast);
  shift.load(channels.shift.data() + piece.channel, broadcast);
  for (int64_t i = 0; i < piece.steps; ++i)
    for (int k = 0; k < P::kCount; ++k) {
      const int64_t at = piece.offset + i * piece.stride + k * P::kLanes;
      Vec value = (FRCNN_LOAD(Vec, x + at) - mean.part[k]) * factor.part[k] + shift.part[k];
      if (kRelu) value = value < Vec{} ? Vec{} : value;
      FRCNN_STORE(Vec, y + at) = value;
    }
}

/// first = sum of g, second = sum of g * (x - mean), per lane.
template <typename T, int N, bool kRelu, bool kProduct>
FRCNN_SIMD void gradient_sums(const MapPiece& piece, bool broadcast, const PerChannel<T>& channels,
                              const T* x, const T* y, const T* dy, LaneSums& sums) {
  using P = Parts<T, N>;
  using Vec = typename P::V::Vec;
  Lanes<T, N> mean, total = {}, product = {};
  mean.load(channels.mean.data() + piece.channel, broadcast);
  for (int64_t i = 0; i < piece.steps; ++i)
    for (int k = 0; k < P::kCount; ++k) {
      const int64_t at = piece.offset + i * piece.stride + k * P::kLanes;
      Vec g = FRCNN_LOAD(Vec, dy + at);
      if (kRelu) g = FRCNN_LOAD(Vec, y + at) > Vec{} ? g : Vec{};
      total.part[k] += g;
      if (kProduct) product.part[k] += g * (FRCNN_LOAD(Vec, x + at) - mean.part[k]);
    }
  for (int j = 0; j < N; ++j) {
    sums.first[static_cast<size_t>(j)] = total.lane(j);
    sums.second[static_cast<size_t>(j)] = product.lane(j);
  }
}

/// dx = factor * (g - offset - (x - mean) * slope); without kCentre dx = factor * g.
template <typename T, int N, bool kRelu, bool kCentre>
FRCNN_SIMD void input_gradient(const MapPiece& piece, bool broadcast, const PerChannel<T>& channels,
                               const std::vector<T>& slopes, const T* x, const T* y, const T* dy,
                               T* dx) {
  using P = Parts<T, N>;
  using Vec = typename P::V::Vec;
  Lanes<T, N> mean, factor, offset, slope;
  mean.load(channels.mean.data() + piece.channel, broadcast);
  factor.load(channels.factor.data() + piece.channel, broadcast);
  offset.load(channels.shift.data() + piece.channel, broadcast);
  slope.load(slopes.data() + piece.channel, broadcast);
  for (int64_t i = 0; i < piece.steps; ++i)
    for (int k = 0; k < P::kCount; ++k) {
      const int64_t at = piece.offset + i * piece.stride + k * P::kLanes;
      Vec g = FRCNN_LOAD(Vec, dy + at);
      if (kRelu) g = FRCNN_LOAD(Vec, y + at) > Vec{} ? g : Vec{};
      if (kCentre)
        g = g - offset.part[k] - (FRCNN_LOAD(Vec, x + at) - mean.part[k]) * slope.part[k];
      FRCNN_STORE(Vec, dx + at) = factor.part[k] * g;
    }
}

template <typename T>
double rstd_of(double epsilon, T var) {
  return 1.0 / std::sqrt(static_cast<double>(var) + epsilon);
}

template <typename T>
double value_or(const T* values, int64_t c, double absent) {
  return values ? static_cast<double>(values[c]) : absent;
}

template <typename T>
void normalize_all(const MapLayout& layout, const std::vector<MapPiece>& pieces, bool relu,
                   const PerChannel<T>& channels, const T* x, T* y) {
  const bool broadcast = layout.block == 1;
  for_pieces(pieces, [&](size_t, const MapPiece& piece, auto lanes) {
    if (relu)
      normalize<T, lanes.value, true>(piece, broadcast, channels, x, y);
    else
      normalize<T, lanes.value, false>(piece, broadcast, channels, x, y);
  });
}

/// Sum of g and of g * (x - mean) per channel, with padding; the second only if `product`.
template <typename T>
void sum_gradients(const MapLayout& layout, const std::vector<MapPiece>& pieces, bool relu,
                   bool product, const PerChannel<T>& channels, const T* x, const T* y, const T* dy,
                   std::vector<double>& total, std::vector<double>& with_x) {
  const bool broadcast = layout.block == 1;
  std::vector<LaneSums> sums(pieces.size());
  for_pieces(pieces, [&](size_t i, const MapPiece& piece, auto lanes) {
    constexpr int kLanes = lanes.value;
    if (relu && product)
      gradient_sums<T, kLanes, true, true>(piece, broadcast, channels, x, y, dy, sums[i]);
    else if (relu)
      gradient_sums<T, kLanes, true, false>(piece, broadcast, channels, x, y, dy, sums[i]);
    else if (product)
      gradient_sums<T, kLanes, false, true>(piece, broadcast, channels, x, y, dy, sums[i]);
    else
      gradient_sums<T, kLanes, false, false>(piece, broadcast, channels, x, y, dy, sums[i]);
  });
  total.assign(channels.mean.size(), 0.0);
  with_x.assign(channels.mean.size(), 0.0);
  for (size_t i = 0; i < pieces.size(); ++i)
    for (int j = 0; j < pieces[i].lanes; ++j) {
      const auto c = static_cast<size_t>(pieces[i].channel + (broadcast ? 0 : j));
      total[c] += sums[i].first[static_cast<size_t>(j)];
      with_x[c] += sums[i].second[static_cast<size_t>(j)];
    }
}

template <typename T>
void write_input_gradient(const MapLayout& layout, const std::vector<MapPiece>& pieces, bool relu,
                          bool centre, const PerChannel<T>& channels, const std::vector<T>& slopes,
                          const T* x, const T* y, const T* dy, T* dx) {
  const bool broadcast = layout.block == 1;
  for_pieces(pieces, [&](size_t, const MapPiece& piece, auto lanes) {
    constexpr int kLanes = lanes.value;
    if (relu && centre)
      input_gradient<T, kLanes, true, true>(piece, broadcast, channels, slopes, x, y, dy, dx);
    else if (relu)
      input_gradient<T, kLanes, true, false>(piece, broadcast, channels, slopes, x, y, dy, dx);
    else if (centre)
      input_gradient<T, kLanes, false, true>(piece, broadcast, channels, slopes, x, y, dy, dx);
    else
      input_gradient<T, kLanes, false, false>(piece, broadcast, channels, slopes, x, y, dy, dx);
  });
}

}  // namespace

template <typename T>
void batch_norm_train_forward(const MapLayout& layout, const BatchNormParams& p, const T* x,
                              const T* gamma, const T* beta, T* y, T* saved_mean, T* saved_rstd,
                              T* running_mean, T* running_var) {
  const double count = static_cast<double>(layout.n * layout.h * layout.w);
  check(count > 1, "[batch_norm] expected more than one value per channel in training, got {}",
        count);
  const bool broadcast = layout.block == 1;
  const std::vector<MapPiece> pieces = map_pieces(layout);
  std::vector<LaneSums> sums(pieces.size());
  for_pieces(pieces, [&](size_t i, const MapPiece& piece, auto lanes) {
    moments<T, lanes.value>(piece, x, sums[i]);
  });

  // Chan's merge of (count, mean, sum of squared deviations), in order.
  struct Moments {
    double count = 0, mean = 0, squares = 0;
  };
  PerChannel<T> channels(layout);
  std::vector<Moments> merged(channels.mean.size());
  for (size_t i = 0; i < pieces.size(); ++i)
    for (int j = 0; j < pieces[i].lanes; ++j) {
      Moments& m = merged[static_cast<size_t>(pieces[i].channel + (broadcast ? 0 : j))];
      const double more = static_cast<double>(pieces[i].steps), both = m.count + more;
      const double delta = sums[i].first[static_cast<size_t>(j)] - m.mean;
      m.mean += delta * (more / both);
      m.squares += sums[i].second[static_cast<size_t>(j)] + delta * delta * (m.count * more / both);
      m.count = both;
    }

  for (int64_t c = 0; c < layout.c; ++c) {
    const Moments& m = merged[static_cast<size_t>(c)];
    const double rstd = rstd_of(p.epsilon, m.squares / count);
    saved_mean[c] = static_cast<T>(m.mean);
    saved_rstd[c] = static_cast<T>(rstd);
    const auto update = [&](T* running, double batch) {
      if (running)
        running[c] =
            static_cast<T>((1 - p.momentum) * static_cast<double>(running[c]) + p.momentum * batch);
    };
    update(running_mean, m.mean);
    update(running_var, m.squares / (count - 1));
    channels.mean[static_cast<size_t>(c)] = static_cast<T>(m.mean);
    channels.factor[static_cast<size_t>(c)] = static_cast<T>(rstd * value_or(gamma, c, 1));
    channels.shift[static_cast<size_t>(c)] = static_cast<T>(value_or(beta, c, 0));
  }
  normalize_all(layout, pieces, p.relu, channels, x, y);
}

template <typename T>
void batch_norm_train_backward(const MapLayout& layout, const BatchNormParams& p, const T* x,
                               const T* y, const T* gamma, const T* saved_mean, const T* saved_rstd,
                               const T* dy, T* dx, T* dgamma, T* dbeta) {
  check(!p.relu || y, "[batch_norm] expected the output of the forward pass with relu");
  const double count = static_cast<double>(layout.n * layout.h * layout.w);
  const std::vector<MapPiece> pieces = map_pieces(layout);
  PerChannel<T> channels(layout);
  std::copy(saved_mean, saved_mean + layout.c, channels.mean.begin());
  std::vector<double> total, with_x;
  sum_gradients(layout, pieces, p.relu, true, channels, x, y, dy, total, with_x);
  std::vector<T> slopes(channels.mean.size());
  for (int64_t c = 0; c < layout.c; ++c) {
    const auto i = static_cast<size_t>(c);
    const double rstd = static_cast<double>(saved_rstd[c]);
    if (dbeta) dbeta[c] = static_cast<T>(total[i]);
    if (dgamma) dgamma[c] = static_cast<T>(with_x[i] * rstd);
    channels.factor[i] = static_cast<T>(rstd * value_or(gamma, c, 1));
    channels.shift[i] = static_cast<T>(total[i] / count);
    slopes[i] = static_cast<T>(with_x[i] * rstd * rstd / count);
  }
  write_input_gradient(layout, pieces, p.relu, true, channels, slopes, x, y, dy, dx);
}

template <typename T>
void batch_norm_frozen_forward(const MapLayout& layout, const BatchNormParams& p, const T* x,
                               const T* gamma, const T* beta, const T* mean, const T* var, T* y) {
  PerChannel<T> channels(layout);
  for (int64_t c = 0; c < layout.c; ++c) {
    const auto i = static_cast<size_t>(c);
    channels.mean[i] = mean[c];
    channels.factor[i] = static_cast<T>(rstd_of(p.epsilon, var[c]) * value_or(gamma, c, 1));
    channels.shift[i] = static_cast<T>(value_or(beta, c, 0));
  }
  normalize_all(layout, map_pieces(layout), p.relu, channels, x, y);
}

template <typename T>
void batch_norm_frozen_backward(const MapLayout& layout, const BatchNormParams& p, const T* x,
                                const T* y, const T* gamma, const T* mean, const T* var,
                                const T* dy, T* dx, T* dgamma, T* dbeta) {
  check(!p.relu || y, "[batch_norm] expected the output of the forward pass with relu");
  check(!dgamma || x, "[batch_norm] expected the input of the forward pass for dgamma");
  const std::vector<MapPiece> pieces = map_pieces(layout);
  PerChannel<T> channels(layout);
  std::copy(mean, mean + layout.c, channels.mean.begin());
  if (dgamma || dbeta) {
    std::vector<double> total, with_x;
    sum_gradients(layout, pieces, p.relu, dgamma != nullptr, channels, x, y, dy, total, with_x);
    for (int64_t c = 0; c < layout.c; ++c) {
      const auto i = static_cast<size_t>(c);
      if (dbeta) dbeta[c] = static_cast<T>(total[i]);
      if (dgamma) dgamma[c] = static_cast<T>(with_x[i] * rstd_of(p.epsilon, var[c]));
    }
  }
  if (!dx) return;
  for (int64_t c = 0; c < layout.c; ++c)
    channels.factor[static_cast<size_t>(c)] =
        static_cast<T>(rstd_of(p.epsilon, var[c]) * value_or(gamma, c, 1));
  const std::vector<T> slopes(channels.mean.size());
  write_input_gradient(layout, pieces, p.relu, false, channels, slopes, x, y, dy, dx);
}

template <typename T>
void batch_norm_fold(int64_t channels, double epsilon, const T* gamma, const T* beta, const T* mean,
                     const T* var, T* scale, T* shift) {
  for (int64_t c = 0; c < channels; ++c) {
    const double factor = rstd_of(epsilon, var[c]) * value_or(gamma, c, 1);
    scale[c] = static_cast<T>(factor);
    shift[c] = static_cast<T>(value_or(beta, c, 0) - static_cast<double>(mean[c]) * factor);
  }
}

#define FRCNN_INSTANTIATE(T)                                                                       \
  template void batch_norm_train_forward<T>(const MapLayout&, const BatchNormParams&, const T*,    \
                                            const T*, const T*, T*, T*, T*, T*, T*);               \
  template void batch_norm_train_backward<T>(const MapLayout&, const BatchNormParams&, const T*,   \
                                             const T*, const T*, const T*, const T*, const T*, T*, \
                                             T*, T*);                                              \
  template void batch_norm_frozen_forward<T>(const MapLayout&, const BatchNormParams&, const T*,   \
                                             const T*, const T*, const T*, const T*, T*);          \
  template void batch_norm_frozen_backward<T>(const MapLayout&, const BatchNormParams&, const T*,  \
                                              const T*, const T*, const T*, const T*, const T*,    \
                                              T*, T*, T*);                                         \
  template void batch_norm_fold<T>(int64_t, double, const T*, const T*, const T*, const T*, T*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
