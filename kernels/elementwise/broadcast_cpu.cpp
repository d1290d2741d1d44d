#include "kernels/elementwise/broadcast.h"

#include "kernels/launch/parallel.h"
#include "kernels/launch/simd.h"

namespace frcnn::kernels::cpu {
namespace {

constexpr int64_t kGrain = 32768;  // elements a thread is worth waking for

/// y[i * n + k] = f(a[i * n + k], b[k]) for `cells` runs of n neighbouring channels.
template <typename T, typename F>
FRCNN_INLINE void spread_cells(int64_t cells, int64_t n, const T* a, const T* b, T* y, F f) {
  for (int64_t i = 0; i < cells; ++i)
    for (int64_t k = 0; k < n; ++k) y[i * n + k] = f(a[i * n + k], b[k]);
}
/// The same for one channel, or one number for all: a loop without a second index.
template <typename T, typename F>
FRCNN_INLINE void spread_one(int64_t count, const T* a, T b, T* y, F f) {
  for (int64_t i = 0; i < count; ++i) y[i] = f(a[i], b);
}

struct Add {
  template <typename T>
  FRCNN_INLINE T operator()(T a, T b) const {
    return a + b;
  }
};
struct Subtract {
  template <typename T>
  FRCNN_INLINE T operator()(T a, T b) const {
    return a - b;
  }
};
struct Multiply {
  template <typename T>
  FRCNN_INLINE T operator()(T a, T b) const {
    return a * b;
  }
};

template <typename T>
FRCNN_SIMD void apply_cells(BinaryOp op, int64_t cells, int64_t n, const T* a, const T* b, T* y) {
  if (op == BinaryOp::add) return spread_cells(cells, n, a, b, y, Add{});
  if (op == BinaryOp::subtract) return spread_cells(cells, n, a, b, y, Subtract{});
  spread_cells(cells, n, a, b, y, Multiply{});
}

template <typename T>
FRCNN_SIMD void apply_one(BinaryOp op, int64_t count, const T* a, T b, T* y) {
  if (op == BinaryOp::add) return spread_one(count, a, b, y, Add{});
  if (op == BinaryOp::subtract) return spread_one(count, a, b, y, Subtract{});
  spread_one(count, a, b, y, Multiply{});
}

/// to[k] = sum over `cells` cells of dy, or of dy * a, for n <= 16 neighbouring channels.
template <typename T>
FRCNN_SIMD void sum_cells(int64_t cells, int64_t stride, int64_t n, const T* dy, const T* a,
                          double* to) {
  double sum[16] = {};
  if (a == nullptr) {
    for (int64_t i = 0; i < cells; ++i)
      for (int64_t k = 0; k < n; ++k) sum[k] += static_cast<double>(dy[i * stride + k]);
  } else {
    for (int64_t i = 0; i < cells; ++i)
      for (int64_t k = 0; k < n; ++k)
        sum[k] += static_cast<double>(dy[i * stride + k]) * static_cast<double>(a[i * stride + k]);
  }
  for (int64_t k = 0; k < n; ++k) to[k] = sum[k];
}

template <typename T>
FRCNN_SIMD void subtract_range(int64_t begin, int64_t end, const T* a, const T* b, T* y) {
  for (int64_t i = begin; i < end; ++i) y[i] = a[i] - b[i];
}

/// b's index of channel c of image n.
int64_t place(Spread spread, const MapLayout& layout, int64_t n, int64_t c) {
  return spread == Spread::whole ? 0 : spread == Spread::channel ? c : n * layout.c + c;
}

}  // namespace

template <typename T>
void broadcast_forward(const MapLayout& layout, BinaryOp op, Spread spread, const T* a, const T* b,
                       T* y) {
  const int64_t block = layout.block;
  if (spread == Spread::whole && layout.c % block == 0) {
    parallel_for(layout.size(), kGrain, [=](int64_t begin, int64_t end) {
      apply_one(op, end - begin, a + begin, *b, y + begin);
    });
    return;
  }
  // Rows of the map, so that one NHWC image is work for all threads.
  parallel_for(layout.n * layout.blocks() * layout.h, 1 + kGrain / (layout.w * block + 1),
               [&](int64_t begin, int64_t end) {
                 for (int64_t r = begin; r < end; ++r) {
                   const int64_t n = r / layout.h / layout.blocks();
                   const int64_t first = r / layout.h % layout.blocks() * block;
                   const int64_t used = std::min(block, layout.c - first);
                   const int64_t at = r * layout.w * block;
                   const T* values = b + place(spread, layout, n, first);
                   if (block == 1) {
                     apply_one(op, layout.w, a + at, *values, y + at);
                   } else if (used == block && spread != Spread::whole) {
                     apply_cells(op, layout.w, block, a + at, values, y + at);
                   } else {
                     for (int64_t i = at; i < at + layout.w * block; i += block) {
                       if (spread == Spread::whole)
                         apply_one(op, used, a + i, *b, y + i);
                       else
                         apply_cells(op, 1, used, a + i, values, y + i);
                       std::fill(y + i + used, y + i + block, T(0));
                     }
                   }
                 }
               });
}

template <typename T>
void broadcast_backward(const MapLayout& layout, BinaryOp op, Spread spread, const T* dy,
                        const T* a, T* db, double* workspace) {
  const int64_t cells = layout.h * layout.w, block = layout.block, runs = (block + 15) / 16;
  const T* factor = op == BinaryOp::multiply ? a : nullptr;
  parallel_for(layout.n * layout.blocks() * runs, 1 + kGrain / (cells * block / runs + 1),
               [&](int64_t begin, int64_t end) {
                 for (int64_t item = begin; item < end; ++item) {
                   const int64_t plane = item / runs, n = plane / layout.blocks();
                   const int64_t inside = item % runs * 16;
                   const int64_t c = plane % layout.blocks() * block + inside;
                   const int64_t used = std::min({int64_t{16}, block - inside, layout.c - c});
                   if (used <= 0) continue;
                   const int64_t at = plane * cells * block + inside;
                   sum_cells(cells, block, used, dy + at, factor ? factor + at : nullptr,
                             workspace + n * layout.c + c);
                 }
               });
  const int64_t count = spread_size(layout, spread), items = layout.n * layout.c;
  const double sign = op == BinaryOp::subtract ? -1 : 1;
  for (int64_t i = 0; i < count; ++i) {
    double sum = 0;
    for (int64_t k = i; k < items; k += count) sum += workspace[k];
    db[i] = static_cast<T>(sign * sum);
  }
}

template <typename T>
void subtract(int64_t count, const T* a, const T* b, T* y) {
  parallel_for(count, kGrain,
               [=](int64_t begin, int64_t end) { subtract_range(begin, end, a, b, y); });
}

#define FRCNN_INSTANTIATE(T)                                                                      \
  template void broadcast_forward<T>(const MapLayout&, BinaryOp, Spread, const T*, const T*, T*); \
  template void broadcast_backward<T>(const MapLayout&, BinaryOp, Spread, const T*, const T*, T*, \
                                      double*);                                                   \
  template void subtract<T>(int64_t, const T*, const T*, T*);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::cpu
