#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/launch/finite_flag.h"
#include "kernels/launch/gpu.h"
#include "kernels/optim/step_scalars.h"

/// What happens to gradients between the backward pass and the update, without a word to the host.
/// (The CPU's side of it: sum_of_squares() and first_non_finite() in
/// kernels/elementwise/reductions.h.)
namespace frcnn::kernels::gpu {

/// Device memory that check_gradients() needs. It must be zero at its first use, and is left so.
inline constexpr size_t kGradientWorkspace = 8 * 1024 + 16;

/// One pass over a bucket of gradients: notes the first one that is not finite and (unless nullptr)
/// writes the sum of the squares to *squares, in double and in an order that depends on the count
/// alone.
template <Backend backend, typename T>
void check_gradients(Stream stream, int64_t count, const T* g, const FiniteCheck& finite,
                     double* squares,   // (1), or nullptr
                     void* workspace);  // kGradientWorkspace bytes; not used without squares

/// With the norm sqrt(sum of n squares) * |grad_scale * scalars->grad_scale|: scalars->clip = most
/// / norm where the norm exceeds `most` (> 0), else 1. *norm (unless nullptr) is the norm before.
template <Backend backend>
void clip_gradients(Stream stream, int64_t n, const double* squares, double grad_scale, double most,
                    StepScalars* scalars, double* norm);

/// ++scalars->step
template <Backend backend>
void advance_step(Stream stream, StepScalars* scalars);

}  // namespace frcnn::kernels::gpu
