#pragma once

#include <vector>

#include "engine/ops/elementwise.h"
#include "model/config.h"
#include "model/roi_head.h"
#include "model/rpn.h"
#include "model/types.h"

namespace frcnn {

// What lies between the layers on a GPU: proposals, samples and detections, with every count on the
// device and every array at its full size, so that nothing waits for the host and a step can be
// recorded as a graph. The rules are those of proposals.h, targets.h and detections.h.

/// Sizes of a batch's images and smallest sides of boxes, (N, 4): kernels::ImageLimits of `dtype`.
/// `min_size` is in pixels of the original pictures.
Tensor image_limits(const std::vector<InputSize>& sizes, double min_size, DType dtype,
                    Device device);

/// Objects of a batch: rows beyond counts[n] are unused.
struct GpuTruth {
  Tensor boxes;    ///< (N, capacity, 4)
  Tensor classes;  ///< (N, capacity) i32, 0 .. K-1
  Tensor counts;   ///< (N) i32
};
/// On `device`, with room for `capacity` objects per image; Error when an image has more, or a box
/// no area.
GpuTruth truth_tensors(const std::vector<GroundTruth>& truth, int64_t capacity, DType dtype,
                       Device device);

/// At most `capacity` proposals per image, best first.
struct GpuProposals {
  Tensor boxes;   ///< (N, capacity, 4)
  Tensor counts;  ///< (N) i32
  /// (N, capacity) i32: the row of the RPN's outputs that each was made from, -1 in unused rows; or
  /// undefined.
  Tensor sources = {};
};
GpuProposals gpu_proposals(const RpnOutput& output, const Tensor& anchors, const Tensor& limits,
                           const RpnConfig& rpn, const ProposalConfig& proposal,
                           bool with_sources = false);

/// Regions that are given instead of made, with room for `capacity` per image.
GpuProposals given_gpu_proposals(const std::vector<std::vector<Box>>& regions, int64_t capacity,
                                 DType dtype, Device device);
/// Room for given regions: few different sizes, so that few steps are recorded.
int64_t region_capacity(const std::vector<std::vector<Box>>& regions);

/// RpnTargets on the device.
struct GpuRpnTargets {
  Tensor labels;   ///< (N*H*W*A) i32
  Tensor deltas;   ///< (N*H*W*A, 4)
  Tensor sampled;  ///< (N, 2) i32: chosen objects and background of each image
};
GpuRpnTargets gpu_sample_anchors(const Tensor& anchors, const Tensor& limits, const GpuTruth& truth,
                                 const RpnConfig& config, const StepKey& key);

/// RoiTargets on the device, roi.batch rows per image; unused rows have image -1 and label -1.
struct GpuRoiTargets {
  Tensor rois;     ///< (N*batch, 5)
  Tensor labels;   ///< (N*batch) i32
  Tensor deltas;   ///< (N*batch, 4)
  Tensor sampled;  ///< (N, 2) i32
  /// (N*batch) i32: the row of the RPN's outputs that each region was made from, -1 for an object
  /// that was added and in unused rows. Undefined where the proposals have no sources.
  Tensor sources = {};
};
GpuRoiTargets gpu_sample_rois(const GpuProposals& proposals, const GpuTruth& truth,
                              const RoiConfig& config, const StepKey& key);

/// All proposals as RoIs (N*capacity, 5); unused rows have image -1.
Tensor gpu_rois(const GpuProposals& proposals);

/// The best detections of each image, at most test.max_detections.
struct GpuDetections {
  Tensor boxes;   ///< (N, max, 4)
  Tensor scores;  ///< (N, max)
  Tensor labels;  ///< (N, max) i32, 0 .. K-1
  Tensor counts;  ///< (N) i32
};
/// Of the (RoI, class) pairs that pass the thresholds, the kMostCandidates of highest score take
/// part in the suppression.
inline constexpr int64_t kMostCandidates = 12288;
GpuDetections gpu_detections(const RoiOutput& output, const Tensor& rois, int64_t images,
                             const Tensor& limits, const RoiConfig& roi, const TestConfig& test,
                             int64_t classes);
/// Waits for the device.
std::vector<std::vector<ScoredBox>> download(const GpuDetections& detections);

}  // namespace frcnn
