#pragma once

#include <vector>

#include "engine/ops/elementwise.h"
#include "model/types.h"

namespace frcnn {

// A batch must give what its images give one by one. Images of one padded size can pass through the
// network together, because every operation treats them apart (batch norm in training excepted).
// Images of different sizes cannot: an image in a larger frame would see other borders, namely
// biases and maxima that crept into its padding, and cells beyond its own map. So a batch is cut
// into runs of neighbouring images of one size, each without any padding but its own.

/// Neighbouring images of a batch that have one padded size, as a batch of that size.
struct BatchPart {
  ModelInput input;
  size_t first = 0;  ///< number of its first image in the whole batch
};

/// The runs of a batch, in its order; a batch of one size is its own only run, not copied.
std::vector<BatchPart> batch_parts(const ModelInput& batch);

/// Every image alone.
std::vector<BatchPart> single_images(const ModelInput& batch);

/// The pass that names the random numbers of a run whose first image is number `first`: its own,
/// so that runs draw different numbers. Passes below 2^40 and less than 2^23 images stay distinct.
inline uint64_t pass_of_part(uint64_t pass, size_t first) {
  return pass + (static_cast<uint64_t>(first) << 40);
}

/// How many of the rows of RoIs (R, 5) on the CPU belong to each image. Error unless they lie in
/// order of their images, which are numbers below `images`.
std::vector<int64_t> rois_per_image(const Tensor& rois, size_t images);

/// 1 / images * sum over the images n of loss(n), differentiable.
template <typename Loss>
Tensor mean_over_images(size_t images, const Loss& loss) {
  if (images == 1) return loss(0);
  std::vector<Tensor> terms;
  for (size_t n = 0; n < images; ++n) terms.push_back(loss(n));
  return weighted_sum(terms, std::vector<double>(images, 1 / static_cast<double>(images)));
}

}  // namespace frcnn
