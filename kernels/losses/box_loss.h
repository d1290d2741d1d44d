#pragma once

#include <cstdint>

#include "kernels/launch/finite_flag.h"
#include "kernels/losses/loss_scale.h"

namespace frcnn::kernels {

/// Penalty of a difference d:
///   smooth_l1  0.5 sigma^2 d^2 where |d| < 1 / sigma^2, else |d| - 0.5 / sigma^2
///              (Girshick, Fast R-CNN, equation 3, with sigma as the original code has it;
///              torch's beta is 1 / sigma^2, its loss is the same)
///   l1         |d|
///   mse        d^2
enum class BoxPenalty : uint8_t { smooth_l1, l1, mse };

struct BoxLossParams {
  BoxPenalty penalty = BoxPenalty::smooth_l1;
  double sigma = 1;
  int64_t groups = 1;  ///< columns of a prediction row: 4 * groups
};

namespace cpu {

/// Sum over rows with label > 0 and four coordinates of penalty(prediction - target). With groups >
/// 1, row r's prediction are columns 4 labels[r] .. 4 labels[r] + 3 (class-wise regression), else
/// columns 0 .. 3. Double sums in a fixed order. A number that is not finite in a row that counts
/// makes the sum non-finite: std::isfinite() of it is the check. A label beyond the groups and
/// sigma <= 0 throw Error.
template <typename T>
double box_loss_forward(const BoxLossParams& params, int64_t rows,
                        const T* predictions,    // (rows, 4 groups)
                        const T* targets,        // (rows, 4)
                        const int32_t* labels);  // (rows)

/// Writes all of dpredictions: scale * penalty'(prediction - target) where a row and column counts,
/// else 0. At the kink of l1 the derivative is
/// 0; that of NaN is NaN.
template <typename T>
void box_loss_backward(const BoxLossParams& params, int64_t rows, double scale,
                       const T* predictions,   // (rows, 4 groups)
                       const T* targets,       // (rows, 4)
                       const int32_t* labels,  // (rows)
                       T* dpredictions);       // (rows, 4 groups)

}  // namespace cpu

/// The same on a GPU: gradients are the same bits, the sum is taken in another order, which depends
/// on the shape alone. The loss lands in device memory as *loss = scale * sum. A row whose loss is
/// not finite is noted in `finite`; a label beyond the groups makes the loss NaN and the gradient
/// of its row 0. sigma <= 0 throws Error.
enum class BoxLossVersion : uint8_t { naive, coordinates };
inline constexpr gpu::KernelVersion kBoxLossVersions[] = {
    {"naive", "one thread, one row"},
    {"coordinates", "one thread, one number: neighbouring threads read and write neighbours"},
};

namespace gpu {

template <Backend backend, typename T>
void box_loss_forward(Stream stream, const BoxLossParams& params, int64_t rows,
                      const LossScale& scale,
                      const T* predictions,   // (rows, 4 groups)
                      const T* targets,       // (rows, 4)
                      const int32_t* labels,  // (rows)
                      double* loss,           // (1)
                      void* workspace,        // kLossWorkspace bytes
                      const FiniteCheck& finite = {},
                      BoxLossVersion version = BoxLossVersion::coordinates);

template <Backend backend, typename T>
void box_loss_backward(Stream stream, const BoxLossParams& params, int64_t rows,
                       const LossScale& scale, const T* predictions, const T* targets,
                       const int32_t* labels,
                       T* dpredictions,  // (rows, 4 groups), all of it is written
                       BoxLossVersion version = BoxLossVersion::coordinates);

}  // namespace gpu
}  // namespace frcnn::kernels
