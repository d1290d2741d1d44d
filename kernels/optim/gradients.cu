#include "kernels/optim/gradients.h"

#include "kernels/launch/finite_flag.cuh"
#include "kernels/launch/grid_sum.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kThreads = 256;
static_assert(sizeof(GridWork) <= kGradientWorkspace);

template <typename T>
__global__ void __launch_bounds__(kThreads)
    check_kernel(int64_t count, const T* g, const FiniteCheck finite, GridWork* work,
                 double* squares) {
  double sum = 0;
  for (int64_t i = grid_first(); i < count; i += grid_step()) {
    const T gradient = g[i];
    if (!is_finite(gradient)) note_not_finite(finite, i);
    sum += static_cast<double>(gradient) * static_cast<double>(gradient);
  }
  if (squares == nullptr) return;
  grid_sum<kThreads>(sum, work, [=](double total) { *squares = total; });
}

__global__ void clip_kernel(int64_t n, const double* squares, double grad_scale, double most,
                            StepScalars* scalars, double* norm) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += squares[i];
  const double length = std::sqrt(sum) * std::fabs(grad_scale * scalars->grad_scale);
  scalars->clip = length > most ? most / length : 1.0;
  if (norm != nullptr) *norm = length;
}

__global__ void advance_kernel(StepScalars* scalars) {
  ++scalars->step;
}

}  // namespace

template <Backend backend, typename T>
void check_gradients(Stream stream, int64_t count, const T* g, const FiniteCheck& finite,
                     double* squares, void* workspace) {
  launch({"check_gradients", sum_blocks(count, kThreads), kThreads, 0, stream}, check_kernel<T>,
         count, g, finite, static_cast<GridWork*>(workspace), squares);
}

template <Backend backend>
void clip_gradients(Stream stream, int64_t n, const double* squares, double grad_scale, double most,
                    StepScalars* scalars, double* norm) {
  check(most > 0, "[clip_gradients] expected a norm above 0, got {}", most);
  launch({"clip_gradients", 1, 1, 0, stream}, clip_kernel, n, squares, grad_scale, most, scalars,
         norm);
}

template <Backend backend>
void advance_step(Stream stream, StepScalars* scalars) {
  launch({"advance_step", 1, 1, 0, stream}, advance_kernel, scalars);
}

template void check_gradients<kBackend, float>(Stream, int64_t, const float*, const FiniteCheck&,
                                               double*, void*);
template void check_gradients<kBackend, double>(Stream, int64_t, const double*, const FiniteCheck&,
                                                double*, void*);
template void clip_gradients<kBackend>(Stream, int64_t, const double*, double, double, StepScalars*,
                                       double*);
template void advance_step<kBackend>(Stream, StepScalars*);

}  // namespace frcnn::kernels::gpu
