#pragma once

/// What Hopper (compute capability 9.0, compiled for sm_90a) has beyond gpu.cuh: barriers in shared
/// memory that count bytes, the tensor memory accelerator (TMA), and products of a whole warpgroup
/// (wgmma). PTX ISA 8.0, sections 9.7.13.15 (mbarrier), 9.7.9.27 (cp.async.bulk.tensor) and 9.7.15
/// (wgmma). Not emulated: included under nvcc only.
#include <cuda.h>
#include <cudaTypedefs.h>

#include "kernels/launch/gpu.cuh"

namespace frcnn::kernels::gpu::hopper {
namespace {

// ---- barriers

__device__ __forceinline__ void barrier_init(uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(arrivals)
               : "memory");
}
/// Makes initialised barriers visible to TMA; a __syncthreads() must follow.
__device__ __forceinline__ void barrier_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void barrier_arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
               : "memory");
}
/// Arrives, and lets the phase end only after `bytes` more have come by TMA.
__device__ __forceinline__ void barrier_arrive_expect(uint64_t* barrier, int bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
}
/// Waits for the end of the phase of this parity: the first phase has parity 0. Before the first
/// phase has ended, the one "before" it, of parity 1, counts as ended.
__device__ __forceinline__ void barrier_wait(uint64_t* barrier, int parity) {
  int done = 0;
  while (done == 0)
    asm volatile(
        "{\n"
        ".reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.b32 %0, 1, 0, p;\n"
        "}\n"
        : "=r"(done)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
}

// ---- TMA: one thread copies a box of a tensor to shared memory; what lies outside the tensor
// becomes zero. Coordinates are those of the box's first element, fastest dimension first.

__device__ __forceinline__ void tma_load(void* shared, const CUtensorMap& map, uint64_t* barrier,
                                         int c0, int c1, int c2) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "
      "[%1, {%3, %4, %5}], [%2];" ::"r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(barrier)), "r"(c0), "r"(c1), "r"(c2)
      : "memory");
}
__device__ __forceinline__ void tma_load(void* shared, const CUtensorMap& map, uint64_t* barrier,
                                         int c0, int c1, int c2, int c3) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], "
      "[%1, {%3, %4, %5, %6}], [%2];" ::"r"(shared_address(shared)),
      "l"(&map), "r"(shared_address(barrier)), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
      : "memory");
}

/// A bfloat16 tensor for TMA with boxes whose rows have 128 bytes, swizzled: 16-byte chunk j of row
/// r lies at chunk j ^ (r % 8). Sizes fastest first; strides in bytes, without the fastest.
template <int rank>
CUtensorMap tensor_map(const void* data, const cuuint64_t (&sizes)[rank],
                       const cuuint64_t (&strides)[rank - 1], const cuuint32_t (&box)[rank]) {
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult found{};
#if CUDART_VERSION >= 12050
  FRCNN_CUDA_CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000,
                                                    cudaEnableDefault, &found));
#else
  FRCNN_CUDA_CHECK(
      cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &entry, cudaEnableDefault, &found));
#endif
  check(entry != nullptr && found == cudaDriverEntryPointSuccess,
        "[cuda] this driver has no cuTensorMapEncodeTiled: TMA needs driver 525 or newer");
  cuuint32_t ones[rank];
  for (cuuint32_t& one : ones) one = 1;
  CUtensorMap map{};
  const CUresult status = reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(entry)(
      &map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, rank, const_cast<void*>(data), sizes, strides, box,
      ones, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
      CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  check(status == CUDA_SUCCESS, "[cuda] cuTensorMapEncodeTiled: error {}",
        static_cast<int>(status));
  return map;
}

// ---- wgmma: d (64 x 128) += a (64 x 16) b (128 x 16)^T, both in shared memory, k contiguous

/// Descriptor of a matrix whose rows are 128 swizzled bytes of k, as tensor_map() brings them, from
/// a byte address that is a multiple of 1024, plus 32 bytes for every 16 k: bits 0-13 address / 16,
/// bits 32-45 bytes from 8 rows to the next 8 / 16, bits 62-63 the swizzle of 128 bytes.
__device__ __forceinline__ uint64_t matrix_descriptor(const void* shared) {
  const uint64_t address = (shared_address(shared) & 0x3FFFF) >> 4;
  return address | uint64_t{1024 >> 4} << 32 | uint64_t{1} << 62;
}

/// Before the first product, and after other accesses to the sums.
__device__ __forceinline__ void products_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void products_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits until at most `groups_left` committed groups are unfinished.
template <int groups_left>
__device__ __forceinline__ void products_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(groups_left) : "memory");
}

/// The four warps of a warpgroup together, asynchronously. Warp i of them owns rows 16 i to 16 i +
/// 15; with g = lane / 4 and t = lane % 4, d[4 j + e] is row g + 8 (e / 2), column 8 j + 2 t + e %
/// 2 of these.
__device__ __forceinline__ void multiply_m64n128k16(float (&d)[64], uint64_t a, uint64_t b) {
#define FRCNN_EIGHT(i)                                                                        \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
      "%64, %65, 1, 1, 1, 0, 0;"
      : FRCNN_EIGHT(0), FRCNN_EIGHT(8), FRCNN_EIGHT(16), FRCNN_EIGHT(24), FRCNN_EIGHT(32),
        FRCNN_EIGHT(40), FRCNN_EIGHT(48), FRCNN_EIGHT(56)
      : "l"(a), "l"(b));
#undef FRCNN_EIGHT
}

}  // namespace
}  // namespace frcnn::kernels::gpu::hopper
