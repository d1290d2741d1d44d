#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/launch/bfloat16.h"
#include "kernels/launch/check.h"
#include "kernels/launch/gpu.h"

/// The one header that a kernel source (.cu) needs. Under nvcc it is CUDA; under the host compiler
/// the emulation gives every name below its meaning. What kernels do through it, and not in CUDA's
/// own spelling:
///
///   launch({"name", grid, block, shared_bytes, stream}, kernel, args...) kernel<<<...>>>(args)
///   FRCNN_SHARED(T, name, [n][m]);                                    __shared__ T name[n][m];
///   FRCNN_DYNAMIC_SHARED(T, name);                                    extern __shared__ T name[];
///   async_copy<16>(shared, global), async_commit(), async_wait<n>()   cp.async
///   mma_m16n8k8_tf32, mma_m16n8k16_bf16, load_matrix_x4               mma.sync, ldmatrix
///   mul_rn, add_rn, sub_rn, div_rn                                    no fused multiply-add
///
/// A function that launches is a template over the backend, instantiated for kBackend only:
///
///   template <Backend backend, typename T>
///   void relu_forward(Stream stream, int64_t count, const T* x, T* y) { launch(...); }
///   template void relu_forward<kBackend, float>(Stream, int64_t, const float*, float*);

#if defined(__CUDACC__)  // ------------------------------------------------------------------ CUDA

#include <cuda_runtime.h>

namespace frcnn::kernels::gpu {
constexpr Backend kBackend = Backend::cuda;
using Dim3 = dim3;

/// Throws Error that names the call, its place and what CUDA says.
void check_cuda(cudaError_t status, const char* call, const char* file, int line);
#define FRCNN_CUDA_CHECK(call) ::frcnn::kernels::gpu::check_cuda((call), #call, __FILE__, __LINE__)

void count_launch();

#define FRCNN_SHARED(type, name, extent) __shared__ type name extent
#define FRCNN_DYNAMIC_SHARED(type, name)                                       \
  extern __shared__ __align__(128) unsigned char frcnn_dynamic_shared_bytes[]; \
  type* const name = reinterpret_cast<type*>(frcnn_dynamic_shared_bytes)

#if defined(__CUDA_ARCH__)
#define FRCNN_ARCHITECTURE __CUDA_ARCH__
#else
#define FRCNN_ARCHITECTURE 0
#endif

__device__ __forceinline__ unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

/// Starts copying `size` (4, 8 or 16) bytes from global to shared memory, both aligned to it. With
/// valid false the target is filled with zeros and the source is not read.
template <int size>
__device__ __forceinline__ void async_copy(void* shared, const void* global, bool valid = true) {
#if FRCNN_ARCHITECTURE >= 800
  const int bytes = valid ? size : 0;
  if constexpr (size == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
                 "l"(global), "r"(bytes)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(shared)),
                 "l"(global), "n"(size), "r"(bytes)
                 : "memory");
#else  // Turing copies through registers
  static_assert(size == 4 || size == 8 || size == 16);
  using Word = std::conditional_t<size == 4, unsigned, std::conditional_t<size == 8, uint2, uint4>>;
  *static_cast<Word*>(shared) = valid ? *static_cast<const Word*>(global) : Word{};
#endif
}
/// Closes the group of copies started since the last commit.
__device__ __forceinline__ void async_commit() {
#if FRCNN_ARCHITECTURE >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
/// Waits until at most `groups_left` of this thread's groups are unfinished. A barrier must follow
/// before other threads' data are read.
template <int groups_left>
__device__ __forceinline__ void async_wait() {
#if FRCNN_ARCHITECTURE >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(groups_left) : "memory");
#endif
}

/// float32 to the nearest tf32 (10 bits of fraction), ties away from zero, as a register of mma.
__device__ __forceinline__ uint32_t to_tf32(float value) {
#if FRCNN_ARCHITECTURE >= 800
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits;
#else
  return __float_as_uint(value);
#endif
}

/// d (16 x 8) += a (16 x 8, rows) b (8 x 8, columns), float32 sums of tf32 products. With g = lane
/// / 4 and t = lane % 4: a = (g, t) (g + 8, t) (g, t + 4) (g + 8, t + 4); b = (t, g) (t + 4, g); d
/// = (g, 2t) (g, 2t + 1) (g + 8, 2t) (g + 8, 2t + 1). Needs compute capability 8.0.
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4],
                                                 const uint32_t (&b)[2]) {
#if FRCNN_ARCHITECTURE >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();  // rather than a wrong number
#endif
}

/// d (16 x 8) += a (16 x 16, rows) b (16 x 8, columns), float32 sums of bfloat16 products; each
/// register holds two neighbours in k, the lower one in the lower half: a = (g, 2t) (g + 8, 2t) (g,
/// 2t + 8) (g + 8, 2t + 8); b = (2t, g) (2t + 8, g); d as above. Needs compute capability 8.0.
__device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4],
                                                  const uint32_t (&b)[2]) {
#if FRCNN_ARCHITECTURE >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();  // rather than a wrong number
#endif
}

/// ldmatrix: four 8x8 matrices of 16-bit elements from shared memory. Lane 8 i + r gives the
/// address of row r of matrix i (16 bytes, aligned); register i receives elements (lane / 4, 2
/// (lane % 4)) and its right neighbour of matrix i, of its transpose when `transposed`.
template <bool transposed = false>
__device__ __forceinline__ void load_matrix_x4(uint32_t (&r)[4], const void* row) {
  if constexpr (transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

__device__ __forceinline__ float mul_rn(float a, float b) {
  return __fmul_rn(a, b);
}
__device__ __forceinline__ float add_rn(float a, float b) {
  return __fadd_rn(a, b);
}
__device__ __forceinline__ float sub_rn(float a, float b) {
  return __fsub_rn(a, b);
}
__device__ __forceinline__ float div_rn(float a, float b) {
  return __fdiv_rn(a, b);
}
__device__ __forceinline__ double mul_rn(double a, double b) {
  return __dmul_rn(a, b);
}
__device__ __forceinline__ double add_rn(double a, double b) {
  return __dadd_rn(a, b);
}
__device__ __forceinline__ double sub_rn(double a, double b) {
  return __dsub_rn(a, b);
}
__device__ __forceinline__ double div_rn(double a, double b) {
  return __ddiv_rn(a, b);
}

// One program may hold both backends: what both define differently has a name of its own in each.
inline namespace on_cuda {

/// A launch's place and size. A grid without blocks is allowed: nothing runs.
struct Launch {
  const char* name;
  Dim3 grid, block;
  size_t shared_bytes = 0;
  Stream stream = nullptr;
};

template <typename... Params, typename... Args>
void launch(const Launch& where, void (*kernel)(Params...), Args&&... args) {
  if (where.grid.x == 0 || where.grid.y == 0 || where.grid.z == 0) return;
  constexpr size_t kWithoutAsking = size_t{48} << 10;
  if (where.shared_bytes > kWithoutAsking)
    check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(where.shared_bytes)),
               "cudaFuncSetAttribute", where.name, 0);
  kernel<<<where.grid, where.block, where.shared_bytes, where.stream>>>(
      static_cast<Params>(args)...);
  check_cuda(cudaGetLastError(), "launch", where.name, 0);
  count_launch();
}

}  // namespace on_cuda
}  // namespace frcnn::kernels::gpu

#else  // ------------------------------------------------------------------------------ emulation

#include "kernels/launch/emulation/emulation.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __constant__ static const
#define threadIdx (::frcnn::kernels::emulation::registers.thread)
#define blockIdx (::frcnn::kernels::emulation::registers.block)
#define blockDim (::frcnn::kernels::emulation::registers.block_dim)
#define gridDim (::frcnn::kernels::emulation::registers.grid_dim)

// A lambda makes a type that no other place has.
#define FRCNN_SHARED(type, name, extent)  \
  using name##_shared_type = type extent; \
  auto& name = ::frcnn::kernels::emulation::shared_reference<name##_shared_type>([] {})
#define FRCNN_DYNAMIC_SHARED(type, name) \
  type* const name = static_cast<type*>(::frcnn::kernels::emulation::dynamic_shared())

namespace frcnn::kernels::gpu {
constexpr Backend kBackend = Backend::emulated;
using Dim3 = emulation::Dim3;
using emulation::Place;

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
inline float2 make_float2(float x, float y) {
  return {x, y};
}
inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
  return {x, y, z, w};
}
inline int4 make_int4(int x, int y, int z, int w) {
  return {x, y, z, w};
}

inline void __syncthreads(const Place place = Place::current()) {
  emulation::block_barrier(0, place);
}
inline int __syncthreads_count(int predicate, const Place place = Place::current()) {
  return emulation::block_barrier(predicate, place);
}
inline int __syncthreads_or(int predicate, const Place place = Place::current()) {
  return emulation::block_barrier(predicate, place) > 0 ? 1 : 0;
}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu, const Place place = Place::current()) {
  emulation::ballot(mask, false, place);
}
inline void __threadfence() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
}
inline void __threadfence_block() {}

template <typename T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32,
              const Place place = Place::current()) {
  const auto s = emulation::segment_of(width);
  return emulation::shuffle_from(mask, value, s.first + (lane & (width - 1)), place);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 const Place place = Place::current()) {
  const auto s = emulation::segment_of(width);
  const int from = s.lane - static_cast<int>(delta);
  return emulation::shuffle_from(mask, value, from < s.first ? s.lane : from, place);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   const Place place = Place::current()) {
  const auto s = emulation::segment_of(width);
  const int from = s.lane + static_cast<int>(delta);
  return emulation::shuffle_from(mask, value, from >= s.end ? s.lane : from, place);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                  const Place place = Place::current()) {
  const auto s = emulation::segment_of(width);
  const int from = s.lane ^ bits;
  return emulation::shuffle_from(mask, value, from >= s.end ? s.lane : from, place);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, const Place place = Place::current()) {
  return emulation::ballot(mask, predicate != 0, place);
}
inline int __any_sync(unsigned mask, int predicate, const Place place = Place::current()) {
  return emulation::ballot(mask, predicate != 0, place) != 0 ? 1 : 0;
}
inline int __all_sync(unsigned mask, int predicate, const Place place = Place::current()) {
  return emulation::ballot(mask, predicate == 0, place) == 0 ? 1 : 0;
}

template <typename T>
T atomicAdd(T* address, T value) {
  return emulation::atomic_update(address, [=](T old) { return static_cast<T>(old + value); });
}
template <typename T>
T atomicMax(T* address, T value) {
  return emulation::atomic_update(address, [=](T old) { return old > value ? old : value; });
}
template <typename T>
T atomicMin(T* address, T value) {
  return emulation::atomic_update(address, [=](T old) { return old < value ? old : value; });
}
template <typename T>
T atomicOr(T* address, T value) {
  return emulation::atomic_update(address, [=](T old) { return static_cast<T>(old | value); });
}
template <typename T>
T atomicAnd(T* address, T value) {
  return emulation::atomic_update(address, [=](T old) { return static_cast<T>(old & value); });
}
template <typename T>
T atomicExch(T* address, T value) {
  return emulation::atomic_update(address, [=](T) { return value; });
}
template <typename T>
T atomicCAS(T* address, T expected, T value) {
  return emulation::atomic_update(address, [=](T old) { return old == expected ? value : old; });
}

template <typename T>
T __ldg(const T* address) {
  return *address;
}
inline int __popc(unsigned bits) {
  return __builtin_popcount(bits);
}
inline int __popcll(unsigned long long bits) {
  return __builtin_popcountll(bits);
}
inline int __clz(int bits) {
  return bits == 0 ? 32 : __builtin_clz(static_cast<unsigned>(bits));
}
inline int __ffs(int bits) {
  return __builtin_ffs(bits);
}
inline int __ffsll(long long bits) {
  return __builtin_ffsll(bits);
}
inline unsigned __brev(unsigned bits) {
  unsigned result = 0;
  for (int i = 0; i < 32; ++i) result |= (bits >> i & 1u) << (31 - i);
  return result;
}
inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline int __float_as_int(float value) {
  return static_cast<int>(__float_as_uint(value));
}
inline unsigned long long __double_as_longlong(double value) {
  unsigned long long bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((uint64_t{a} * b) >> 32);
}
inline float rsqrtf(float x) {
  return 1.0f / std::sqrt(x);
}
inline double rsqrt(double x) {
  return 1.0 / std::sqrt(x);
}

inline unsigned shared_address(const void*) {
  return 0;
}

template <int size>
void async_copy(void* shared, const void* global, bool valid = true,
                const Place place = Place::current()) {
  static_assert(size == 4 || size == 8 || size == 16);
  emulation::async_copy(shared, global, size, valid ? size : 0, place);
}
inline void async_commit() {
  emulation::async_commit();
}
template <int groups_left>
void async_wait() {
  emulation::async_wait(groups_left);
}

inline uint32_t to_tf32(float value) {
  const uint32_t bits = __float_as_uint(value);
  const bool finite = (bits & 0x7F800000u) != 0x7F800000u;
  return finite ? (bits + 0x1000u) & 0xFFFFE000u : bits;
}
inline void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                             const Place place = Place::current()) {
  emulation::mma_m16n8k8_tf32(d, a, b, place);
}
inline void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                              const Place place = Place::current()) {
  emulation::mma_m16n8k16_bf16(d, a, b, place);
}
template <bool transposed = false>
void load_matrix_x4(uint32_t (&r)[4], const void* row, const Place place = Place::current()) {
  emulation::load_matrix_x4(r, row, transposed, place);
}

// Kernel sources are compiled with -ffp-contract=off here.
template <typename T>
T mul_rn(T a, T b) {
  return a * b;
}
template <typename T>
T add_rn(T a, T b) {
  return a + b;
}
template <typename T>
T sub_rn(T a, T b) {
  return a - b;
}
template <typename T>
T div_rn(T a, T b) {
  return a / b;
}

inline namespace on_emulation {

struct Launch {
  const char* name;
  Dim3 grid, block;
  size_t shared_bytes = 0;
  Stream stream = nullptr;
};
template <typename... Params, typename... Args>
void launch(const Launch& where, void (*kernel)(Params...), Args&&... args) {
  if (where.grid.x == 0 || where.grid.y == 0 || where.grid.z == 0) return;
  emulation::launch_kernel(where.name, where.grid, where.block, where.shared_bytes, kernel,
                           std::forward<Args>(args)...);
}

}  // namespace on_emulation
}  // namespace frcnn::kernels::gpu

#endif

namespace frcnn::kernels::gpu {

constexpr unsigned kWarpSize = 32;
constexpr unsigned kAllLanes = 0xFFFFFFFFu;

/// ceil(a / b) of non-negative integers.
template <typename A, typename B>
__host__ __device__ constexpr auto ceil_div(A a, B b) {
  return (a + b - 1) / b;
}

/// Blocks for one thread per item, at most `most`: kernels walk on in steps of the grid.
inline unsigned blocks_for(int64_t items, int64_t threads, int64_t most = int64_t{1} << 20) {
  const int64_t blocks = ceil_div(items, threads);
  return static_cast<unsigned>(blocks < most ? blocks : most);
}

/// First item and step of a loop over `count` items by the whole grid (1-d):
///   for (int64_t i = grid_first(); i < count; i += grid_step()) ...
__device__ inline int64_t grid_first() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline int64_t grid_step() {
  return static_cast<int64_t>(gridDim.x) * blockDim.x;
}

}  // namespace frcnn::kernels::gpu
