#pragma once

#include <cstdint>

namespace frcnn::kernels {

/// What changes from step to step, in device memory: a captured graph that holds the optimiser
/// follows a schedule when the host writes a new one between replays.
struct StepScalars {
  double lr = 1;          ///< multiplies the rate of the parameters' group
  double grad_scale = 1;  ///< multiplies that of the group, e.g. 1 / images accumulated
  double clip = 1;        ///< multiplies the gradients too; written by clip_gradients()
  int64_t step = 1;       ///< number of the coming update; the first is 1
};

}  // namespace frcnn::kernels
