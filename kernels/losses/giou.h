#pragma once

#include <cstdint>

#include "kernels/boxes/codec.h"
#include "kernels/launch/finite_flag.h"
#include "kernels/losses/loss_scale.h"

namespace frcnn::kernels {

/// Loss of boxes instead of deltas (Rezatofighi et al., Generalized Intersection over Union, CVPR
/// 2019): 1 - GIoU of the box that the predicted deltas decode to and that of the target deltas,
///   GIoU = I / U - (C - U) / C,
/// I and U the areas of intersection and union, C that of the smallest box around both. Moving both
/// boxes, or scaling both along one axis, changes no quotient of areas: the loss is the same in the
/// frame where the anchor is the unit square around 0. Hence deltas alone are needed:
///   centre (tx, ty), sides (exp(tw), exp(th)),   (tx, ty, tw, th) = delta * std + mean.
/// As in decoding, a predicted tw or th is cut at kMaxLogScale, and its gradient is 0 there. Where
/// two edges coincide, each of the two one-sided slopes counts half.
struct GiouParams {
  BoxCodecParams codec;
  int64_t groups = 1;  ///< columns of a prediction row: 4 * groups
};

namespace cpu {

/// Sum over rows with label > 0; columns of a row as in box_loss_forward() (box_loss.h). Double
/// sums in a fixed order. A number that is not finite in a row that counts makes the sum
/// non-finite. A label beyond the groups throws Error.
template <typename T>
double giou_loss_forward(const GiouParams& params, int64_t rows,
                         const T* predictions,    // (rows, 4 groups)
                         const T* targets,        // (rows, 4) deltas
                         const int32_t* labels);  // (rows)

/// Writes all of dpredictions: scale times the gradient where a row and column counts, else 0.
template <typename T>
void giou_loss_backward(const GiouParams& params, int64_t rows, double scale,
                        const T* predictions,   // (rows, 4 groups)
                        const T* targets,       // (rows, 4)
                        const int32_t* labels,  // (rows)
                        T* dpredictions);       // (rows, 4 groups)

}  // namespace cpu

/// The same on a GPU. exp may differ from the CPU's in the last bits; the sum's order depends on
/// the shape alone. The loss lands in device memory as *loss = scale * sum. A row whose loss is not
/// finite is noted in `finite`; a label beyond the groups makes the loss NaN and the gradient of
/// its row 0.
enum class GiouVersion : uint8_t { naive, columns };
inline constexpr gpu::KernelVersion kGiouVersions[] = {
    {"naive", "one thread, one row"},
    {"columns",
     "backward: one thread, one group of four columns, so that zeros are written by all"},
};

namespace gpu {

template <Backend backend, typename T>
void giou_loss_forward(Stream stream, const GiouParams& params, int64_t rows,
                       const LossScale& scale,
                       const T* predictions,   // (rows, 4 groups)
                       const T* targets,       // (rows, 4)
                       const int32_t* labels,  // (rows)
                       double* loss,           // (1)
                       void* workspace,        // kLossWorkspace bytes
                       const FiniteCheck& finite = {});

template <Backend backend, typename T>
void giou_loss_backward(Stream stream, const GiouParams& params, int64_t rows,
                        const LossScale& scale, const T* predictions, const T* targets,
                        const int32_t* labels,
                        T* dpredictions,  // (rows, 4 groups), all of it is written
                        GiouVersion version = GiouVersion::columns);

}  // namespace gpu
}  // namespace frcnn::kernels
