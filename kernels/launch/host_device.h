#pragma once

/// Marks functions of headers that the host and GPU kernels share. Functions that are constexpr
/// need no mark: nvcc is called with --expt-relaxed-constexpr.
#if defined(__CUDACC__)
#define FRCNN_HOST_DEVICE __host__ __device__
#else
#define FRCNN_HOST_DEVICE
#endif
