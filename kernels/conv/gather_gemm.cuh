#pragma once

#include "kernels/conv/conv_geometry.cuh"
#include "kernels/conv/gemm_cores.cuh"
#include "kernels/conv/map_store.cuh"

/// Forward pass and data gradient as an implicit GEMM:
///
///   target[m, column] = sum_k source[pixel of (m, k), channel of k] * weights[column, k]
///
/// The left factor is never in memory: each k tile of it is gathered from the map straight into
/// shared memory, zeros for the padding. Tiles run kStages deep: while one is multiplied, the next
/// ones are on their way, with a single barrier per tile.
namespace frcnn::kernels::gpu::conv {
namespace {

/// Loads the left factor's tiles. A thread serves one chunk (16 bytes of k) of two rows: where
/// `kAsync`, by asynchronous copies of whole chunks, which lie in one tap and are contiguous;
/// otherwise element by element through registers, with conversion, for any layout. Neighbouring
/// lanes take neighbouring chunks of a row in the first case (contiguous channels), neighbouring
/// rows in the second (contiguous pixels of NCHW).
template <class Core, typename T, bool kAsync>
class GatherLoader {
  using Shape = typename Core::Shape;
  static constexpr int kRowsApart = Shape::kThreads / RowTile::kChunks;
  static constexpr int kItems = Shape::kM / kRowsApart;
  static_assert(kItems == 2);

 public:
  __device__ GatherLoader(const GatherProblem& problem, const GatherAxis& vertical,
                          const GatherAxis& horizontal, const T* source, int first_m)
      : map_(problem.source),
        walk_(problem.channels, horizontal.taps, chunk() * Core::kChunk),
        taps_h_(vertical.taps),
        direction_(vertical.direction) {
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      const GatherRow row = gather_row(problem, vertical, horizontal, first_m + this->row(i));
      image_[i] = source + (row.inside ? row.image * map_.image : 0);
      h_[i] = row.inside ? row.p * vertical.step + vertical.offset : kNowhere;
      w_[i] = row.q * horizontal.step + horizontal.offset;
    }
  }

  /// Starts loading the next tile into `tile`; finish() ends it.
  __device__ __forceinline__ void begin(unsigned char* tile) {
    if constexpr (kAsync) {
      const int channel = map_.channel(walk_.c);
#pragma unroll
      for (int i = 0; i < kItems; ++i) {
        const int h = h_[i] + direction_ * walk_.a, w = w_[i] + direction_ * walk_.b;
        const bool valid = is_inside(h, w);
        const int at = valid ? map_.pixel(h, w) + channel : 0;
        async_copy<16>(tile + RowTile::at(row(i), chunk()), image_[i] + at, valid);
      }
      walk_.advance(Core::kTileK);
    } else {
#pragma unroll
      for (int e = 0; e < Core::kChunk; ++e) {
        const int channel = map_.channel(walk_.c);
#pragma unroll
        for (int i = 0; i < kItems; ++i) {
          const int h = h_[i] + direction_ * walk_.a, w = w_[i] + direction_ * walk_.b;
          value_[i][e] = is_inside(h, w) ? image_[i][map_.pixel(h, w) + channel] : T(0.0f);
        }
        walk_.advance(1);
      }
      walk_.advance(Core::kTileK - Core::kChunk);
    }
  }
  /// After the products of the current tile: the loads have had that time to arrive.
  __device__ __forceinline__ void finish(unsigned char* tile) {
    if constexpr (!kAsync) {
      struct alignas(16) Chunk {
        typename Core::Element v[Core::kChunk];
      };
#pragma unroll
      for (int i = 0; i < kItems; ++i) {
        Chunk out;
#pragma unroll
        for (int e = 0; e < Core::kChunk; ++e)
          out.v[e] = Core::round(static_cast<float>(value_[i][e]));
        *reinterpret_cast<Chunk*>(tile + RowTile::at(row(i), chunk())) = out;
      }
    }
  }

 private:
  static constexpr int kNowhere = -(1 << 28);  // outside of every map, with every tap
  __device__ static int chunk() {
    const int thread = static_cast<int>(threadIdx.x);
    return kAsync ? thread % RowTile::kChunks : thread / kRowsApart;
  }
  __device__ static int row(int item) {
    const int thread = static_cast<int>(threadIdx.x);
    return (kAsync ? thread / RowTile::kChunks : thread % kRowsApart) + item * kRowsApart;
  }
  __device__ bool is_inside(int h, int w) const {
    return walk_.a < taps_h_ && static_cast<unsigned>(h) < static_cast<unsigned>(map_.height) &&
           static_cast<unsigned>(w) < static_cast<unsigned>(map_.width);
  }

  const Map& map_;
  TapWalk walk_;
  int taps_h_, direction_;
  const T* image_[kItems];
  int h_[kItems], w_[kItems];
  T value_[kItems][kAsync ? 1 : Core::kChunk];
};

/// Loads the right factor's tiles: rows of the packed weights, which are whole chunks.
template <class Core>
class WeightLoader {
  using Shape = typename Core::Shape;
  using Element = typename Core::Element;
  static constexpr int kRowsApart = Shape::kThreads / RowTile::kChunks;

 public:
  __device__ WeightLoader(const Element* packed, int rows, int depth, int first_row)
      : from_(packed + int64_t{first_row + row(0)} * depth + chunk() * Core::kChunk),
        rows_left_(rows - first_row),
        depth_(depth),
        k_left_(depth - chunk() * Core::kChunk) {}

  __device__ __forceinline__ void begin(unsigned char* tile) {
#pragma unroll
    for (int i = 0; i < Shape::kN / kRowsApart; ++i) {
      const bool valid = row(i) < rows_left_ && k_left_ > 0;
      async_copy<16>(tile + RowTile::at(row(i), chunk()), from_ + int64_t{i * kRowsApart} * depth_,
                     valid);
    }
    from_ += Core::kTileK;
    k_left_ -= Core::kTileK;
  }

 private:
  __device__ static int chunk() {
    return static_cast<int>(threadIdx.x) % RowTile::kChunks;
  }
  __device__ static int row(int item) {
    return static_cast<int>(threadIdx.x) / RowTile::kChunks + item * kRowsApart;
  }
  const Element* from_;
  int rows_left_, depth_, k_left_;
};

/// Shared memory: the stages, which the way out reuses, and a table of rows.
template <class Core>
struct GatherShared {
  using Shape = typename Core::Shape;
  static constexpr int kTileA = Shape::kM * RowTile::kRowBytes;
  static constexpr int kTileB = Shape::kN * RowTile::kRowBytes;
  static constexpr int kStage = kTileA + kTileB;
  static constexpr int kStages = Core::kStages * kStage;
  static constexpr int kBytes = kStages + Shape::kM * static_cast<int>(sizeof(int64_t));
  static_assert(StoreSlab<Shape>::kBytes <= kStages);
};

template <class Core, typename T, bool kAsync>
__global__ void __launch_bounds__(Core::Shape::kThreads,
                                  kAsync ? Core::Shape::kBlocks : Core::kElementBlocks)
    gather_gemm(GatherProblem problem, const T* source, const typename Core::Element* packed,
                const float* bias, T* target, uint8_t* window) {
  using Shape = typename Core::Shape;
  using Shared = GatherShared<Core>;
  FRCNN_DYNAMIC_SHARED(unsigned char, shared);
  auto* const row_target = reinterpret_cast<int64_t*>(shared + Shared::kStages);

  // Blocks of the same rows run at the same time and share the gathered map in the L2 cache.
  const int cls = static_cast<int>(blockIdx.y);
  const GatherAxis vertical = problem.vertical(cls), horizontal = problem.horizontal(cls);
  const int tiles_n = ceil_div(problem.target.stored, Shape::kN);
  const int first_m = static_cast<int>(blockIdx.x) / tiles_n * Shape::kM;
  const int first_n = static_cast<int>(blockIdx.x) % tiles_n * Shape::kN;
  // Classes may have fewer rows than the first.
  if (!problem.pooled &&
      first_m >= int64_t{problem.target.images} * vertical.count * horizontal.count)
    return;

  for (int i = static_cast<int>(threadIdx.x); i < Shape::kM; i += Shape::kThreads) {
    const GatherRow row = gather_row(problem, vertical, horizontal, first_m + i);
    row_target[i] = row.inside ? row.target : -1;
  }

  GatherLoader<Core, T, kAsync> left(problem, vertical, horizontal, source, first_m);
  WeightLoader<Core> right(packed + int64_t{cls} * problem.columns * problem.depth, problem.columns,
                           problem.depth, first_n);
  const int tiles_k = ceil_div(vertical.taps * horizontal.taps * problem.channels, Core::kTileK);
  const auto stage = [&](int k) { return shared + k % Core::kStages * Shared::kStage; };
  for (int k = 0; k < Core::kStages - 1; ++k) {
    if (k < tiles_k) {
      left.begin(stage(k));
      right.begin(stage(k) + Shared::kTileA);
      left.finish(stage(k));
    }
    async_commit();
  }
  Core core;
  for (int k = 0; k < tiles_k; ++k) {
    async_wait<Core::kStages - 2>();
    __syncthreads();  // tile k is here, and nobody reads tile k - 1 any more
    const int next = k + Core::kStages - 1;
    if (next < tiles_k) {
      left.begin(stage(next));
      right.begin(stage(next) + Shared::kTileA);
    }
    async_commit();
    core.multiply_rows(stage(k), stage(k) + Shared::kTileA);
    if (next < tiles_k) left.finish(stage(next));
  }
  async_wait<0>();

  auto* const slab = reinterpret_cast<float*>(shared);
  for (int first = 0; first < Shape::kM; first += StoreSlab<Shape>::kRows) {
    __syncthreads();  // the stages, or the last slab, are not read any more
    core.each_of_rows([&](int row, int column, float sum) {
      const int line = row - first;
      if (line >= 0 && line < StoreSlab<Shape>::kRows)
        slab[StoreSlab<Shape>::at(line, column)] = sum;
    });
    __syncthreads();
    StoreSlab<Shape>::store(problem, slab, row_target + first, first_n, bias, target, window);
  }
}

/// Whether tiles of the map can be copied in whole chunks.
template <class Core, typename T>
bool chunks_are_contiguous(const MapLayout& layout, const T* data) {
  return std::is_same_v<T, typename Core::Element> && layout.block % Core::kChunk == 0 &&
         reinterpret_cast<uintptr_t>(data) % 16 == 0;
}

template <class Core, typename T>
void launch_gather_gemm(const char* name, Stream stream, const GatherProblem& problem,
                        const MapLayout& source_layout, const T* source, const void* packed,
                        const float* bias, T* target, uint8_t* window) {
  using Shape = typename Core::Shape;
  const int64_t blocks = ceil_div(gather_rows(problem), int64_t{Shape::kM}) *
                         ceil_div(problem.target.stored, Shape::kN);
  check(blocks < (int64_t{1} << 31), "[conv2d] {} blocks are too many for one launch", blocks);
  const Launch where{name,
                     Dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(problem.classes)),
                     Shape::kThreads, GatherShared<Core>::kBytes, stream};
  const auto* weights = static_cast<const typename Core::Element*>(packed);
  if constexpr (std::is_same_v<T, typename Core::Element>) {
    if (chunks_are_contiguous<Core>(source_layout, source)) {
      launch(where, gather_gemm<Core, T, true>, problem, source, weights, bias, target, window);
      return;
    }
  }
  launch(where, gather_gemm<Core, T, false>, problem, source, weights, bias, target, window);
}

}  // namespace
}  // namespace frcnn::kernels::gpu::conv
