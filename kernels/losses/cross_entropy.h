#pragma once

#include <cstdint>

#include "kernels/launch/finite_flag.h"
#include "kernels/losses/focal.h"
#include "kernels/losses/loss_scale.h"

namespace frcnn::kernels {
namespace cpu {

// Classification losses over rows; rows with label -1 are ignored: loss and gradient 0. Sums are
// taken in double in a fixed order: the same bits with any number of threads. A logit that is NaN
// or an infinity that decides its row makes the sum non-finite, so std::isfinite() of it is the
// check. A label beyond the classes throws Error.

/// p[r, c] = exp(x[r, c] - m_r) / sum_j exp(x[r, j] - m_r), m_r the row's maximum. p may be x.
template <typename T>
void softmax(int64_t rows, int64_t classes,
             const T* logits,  // (rows, classes)
             T* p);            // (rows, classes)

/// Sum over rows with label >= 0 of w_r times -log softmax(logits)[label] = log(sum_j exp(x_j - m))
/// - (x_label - m), or of its focal form, where label 0 is background. Writes each row's loss (with
/// its weight; 0 where ignored) to row_losses.
template <typename T>
double softmax_cross_entropy_forward(int64_t rows, int64_t classes,
                                     const T* logits,                 // (rows, classes)
                                     const int32_t* labels,           // (rows), -1 ignored
                                     T* probabilities,                // (rows, classes), or nullptr
                                     const T* row_weights = nullptr,  // (rows), or nullptr: all 1
                                     T* row_losses = nullptr,         // (rows), or nullptr
                                     const Focal& focal = {});

/// dlogits = scale * w_r * (p - onehot(label)), times focal.slope(), 0 for ignored rows.
template <typename T>
void softmax_cross_entropy_backward(int64_t rows, int64_t classes, double scale,
                                    const T* probabilities,  // (rows, classes) from forward
                                    const int32_t* labels,   // (rows)
                                    T* dlogits,  // (rows, classes), may be probabilities
                                    const T* row_weights = nullptr,  // (rows), or nullptr: all 1
                                    const Focal& focal = {});

/// y = 1 / (1 + exp(-x)). y may be x.
template <typename T>
void sigmoid(int64_t count, const T* x, T* y);

/// Sum over elements with label >= 0 of max(x, 0) - x label + log(1 + exp(-|x|)), the cross-entropy
/// of sigmoid(x), label 0 or 1; or its focal form.
template <typename T>
double sigmoid_cross_entropy_forward(int64_t count,
                                     const T* logits,        // (count)
                                     const int32_t* labels,  // (count), -1 ignored
                                     const Focal& focal = {});

/// dlogits = scale * (sigmoid(x) - label), times focal.slope(), 0 where ignored.
template <typename T>
void sigmoid_cross_entropy_backward(int64_t count, double scale,
                                    const T* logits,        // (count)
                                    const int32_t* labels,  // (count)
                                    T* dlogits,             // (count)
                                    const Focal& focal = {});

/// The labels of one-vs-all classification, one binary problem per class: element (r, c) is 1 where
/// c is the row's label, else 0; -1 (left out) in column 0, the background, which is "no class",
/// and in rows whose label is below 0.
void one_vs_all_labels(int64_t rows, int64_t classes,
                       const int32_t* labels,  // (rows), 0 background
                       int32_t* out);          // (rows, classes)

}  // namespace cpu

/// The same on a GPU. exp and log may differ from the CPU's in the last bits, and sums are taken in
/// another order, which depends on the shape alone: equal runs give equal bits. The loss lands in
/// device memory as *loss = scale * sum. A row or element whose loss is not finite is noted in
/// `finite`; a label beyond the classes, which no host can refuse here, makes the loss NaN and the
/// gradient of its row 0 or that of no class.
enum class SoftmaxVersion : uint8_t { naive, warp, registers };
inline constexpr gpu::KernelVersion kSoftmaxVersions[] = {
    {"naive", "one thread, one row"},
    {"warp", "one warp, one row: lanes read neighbouring classes"},
    {"registers", "the row stays in registers from the first read to the last write"},
};

namespace gpu {

/// `registers` holds 5 to 128 classes; with more it does as `warp`, with fewer as `naive`. p may be
/// the logits.
template <Backend backend, typename T>
void softmax(Stream stream, int64_t rows, int64_t classes, const T* logits, T* p,
             SoftmaxVersion version = SoftmaxVersion::registers);

template <Backend backend, typename T>
void softmax_cross_entropy_forward(Stream stream, int64_t rows, int64_t classes,
                                   const LossScale& scale,
                                   const T* logits,                 // (rows, classes)
                                   const int32_t* labels,           // (rows), -1 ignored
                                   T* probabilities,                // (rows, classes), or nullptr
                                   double* loss,                    // (1)
                                   void* workspace,                 // kLossWorkspace bytes
                                   const T* row_weights = nullptr,  // (rows), or nullptr: all 1
                                   T* row_losses = nullptr,         // (rows) unscaled, or nullptr
                                   const FiniteCheck& finite = {},
                                   SoftmaxVersion version = SoftmaxVersion::registers,
                                   const Focal& focal = {});

template <Backend backend, typename T>
void softmax_cross_entropy_backward(Stream stream, int64_t rows, int64_t classes,
                                    const LossScale& scale, const T* probabilities,
                                    const int32_t* labels,
                                    T* dlogits,  // may be probabilities
                                    const T* row_weights = nullptr, const Focal& focal = {});

template <Backend backend, typename T>
void sigmoid(Stream stream, int64_t count, const T* x, T* y);

template <Backend backend, typename T>
void sigmoid_cross_entropy_forward(Stream stream, int64_t count, const LossScale& scale,
                                   const T* logits,        // (count)
                                   const int32_t* labels,  // (count), -1 ignored
                                   double* loss,           // (1)
                                   void* workspace,        // kLossWorkspace bytes
                                   const FiniteCheck& finite = {}, const Focal& focal = {});

template <Backend backend, typename T>
void sigmoid_cross_entropy_backward(Stream stream, int64_t count, const LossScale& scale,
                                    const T* logits, const int32_t* labels, T* dlogits,
                                    const Focal& focal = {});

template <Backend backend>
void one_vs_all_labels(Stream stream, int64_t rows, int64_t classes,
                       const int32_t* labels,  // (rows)
                       int32_t* out);          // (rows, classes)

}  // namespace gpu
}  // namespace frcnn::kernels
