#include "kernels/elementwise/broadcast.h"

#include "kernels/elementwise/channel_sums.cuh"
#include "kernels/elementwise/map_elements.cuh"

namespace frcnn::kernels::gpu {
namespace {

template <typename T>
struct Subtract {
  __device__ T operator()(T a, T b) const { return sub_rn(a, b); }
};

template <typename T>
__device__ T apply(BinaryOp op, T a, T b) {
  if (op == BinaryOp::add) return add_rn(a, b);
  if (op == BinaryOp::subtract) return sub_rn(a, b);
  return mul_rn(a, b);
}

/// One thread, N neighbours in memory: channels of one cell, or (kCells, NCHW) cells of one
/// channel.
template <int N, bool kCells, typename Index, typename T>
__global__ void spread_kernel(MapLayout layout, BinaryOp op, Spread spread, const T* a, const T* b,
                              T* y) {
  const auto block = static_cast<Index>(layout.block), channels = static_cast<Index>(layout.c);
  const auto cells = static_cast<Index>(layout.h * layout.w);
  const auto blocks = static_cast<Index>(layout.blocks());
  const auto count = static_cast<Index>(layout.size()) / N;
  for (auto item = static_cast<Index>(grid_first()); item < count;
       item += static_cast<Index>(grid_step())) {
    const Index at = item * N, plane = at / block / cells;
    const Index n = plane / blocks, c = plane % blocks * block + at % block;
    const T* values = b + (spread == Spread::plane ? n * channels : Index{0});
    Pack<T, N> pack = load_pack<N>(a + at);
    for (int k = 0; k < N; ++k) {
      const Index channel = kCells ? c : c + static_cast<Index>(k);
      if (channel < channels)
        pack.v[k] = apply(op, pack.v[k], values[spread == Spread::whole ? Index{0} : channel]);
      else
        pack.v[k] = T(0);  // padding of the last block
    }
    store_pack(y + at, pack);
  }
}

template <typename T>
struct PutPiece {
  double* sums;
  int64_t channels, pieces;
  __device__ void operator()(int64_t n, int64_t c, int64_t piece, double sum) const {
    if (c < channels) sums[(n * channels + c) * pieces + piece] = sum;
  }
};

/// One warp, one element of db: the sum over its planes' pieces.
template <typename T>
__global__ void __launch_bounds__(kSumThreads)
    finish_sums(int64_t planes, int64_t count, int64_t pieces, double sign, const double* sums,
                T* db) {
  const int64_t i = int64_t{blockIdx.x} * (kSumThreads / 32) + threadIdx.x / 32;
  if (i >= count) return;
  const int64_t terms = planes / count * pieces;
  double sum = 0;
  for (int64_t term = threadIdx.x % 32; term < terms; term += 32)
    sum += sums[(i + term / pieces * count) * pieces + term % pieces];
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) db[i] = static_cast<T>(sign * sum);
}

}  // namespace

template <Backend backend, typename T>
void broadcast_forward(Stream stream, const MapLayout& layout, BinaryOp op, Spread spread,
                       const T* a, const T* b, T* y, BroadcastVersion version) {
  constexpr int kPack = Pack<T>::kSize;
  const auto run = [&](auto n, auto kernel) {
    launch({"broadcast", blocks_for(layout.size() / decltype(n)::value, kThreads), kThreads, 0,
            stream},
           kernel, layout, op, spread, a, b, y);
  };
  using One = std::integral_constant<int, 1>;
  using Many = std::integral_constant<int, kPack>;
  if (version == BroadcastVersion::naive || layout.size() >= (int64_t{1} << 31))
    run(One{}, spread_kernel<1, false, int64_t, T>);
  else if (layout.block % kPack == 0 && aligned_to(16, a, y))
    run(Many{}, spread_kernel<kPack, false, uint32_t, T>);
  else if (layout.block == 1 && layout.h * layout.w % kPack == 0 && aligned_to(16, a, y))
    run(Many{}, spread_kernel<kPack, true, uint32_t, T>);
  else
    run(One{}, spread_kernel<1, false, uint32_t, T>);
}

template <Backend backend, typename T>
void broadcast_backward(Stream stream, const MapLayout& layout, BinaryOp op, Spread spread,
                        const T* dy, const T* a, T* db, double* workspace,
                        BroadcastVersion version) {
  const SumShape shape(layout, kBroadcastPiece);
  channel_sums("broadcast_sums", stream, shape, version == BroadcastVersion::naive, dy,
               op == BinaryOp::multiply ? a : static_cast<const T*>(nullptr),
               PutPiece<T>{workspace, layout.c, shape.pieces});
  const int64_t count = spread_size(layout, spread);
  launch({"broadcast_finish", static_cast<unsigned>(ceil_div(count, int64_t{kSumThreads / 32})),
          kSumThreads, 0, stream},
         finish_sums<T>, layout.n * layout.c, count, shape.pieces,
         op == BinaryOp::subtract ? -1.0 : 1.0, workspace, db);
}

template <Backend backend, typename T>
void subtract(Stream stream, int64_t count, const T* a, const T* b, T* y,
              ElementwiseVersion version) {
  map("subtract", stream, version, count, Subtract<T>{}, a, b, y);
}

#define FRCNN_INSTANTIATE(T)                                                                \
  template void broadcast_forward<kBackend, T>(Stream, const MapLayout&, BinaryOp, Spread,  \
                                               const T*, const T*, T*, BroadcastVersion);   \
  template void broadcast_backward<kBackend, T>(Stream, const MapLayout&, BinaryOp, Spread, \
                                                const T*, const T*, T*, double*,            \
                                                BroadcastVersion);                          \
  template void subtract<kBackend, T>(Stream, int64_t, const T*, const T*, T*, ElementwiseVersion);
FRCNN_INSTANTIATE(float)
FRCNN_INSTANTIATE(double)
#undef FRCNN_INSTANTIATE

}  // namespace frcnn::kernels::gpu
