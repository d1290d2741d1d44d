#include "engine/schedule.h"

namespace frcnn {

double StepSchedule::at(int64_t t) const {
  double lr = base;
  for (const int64_t boundary : boundaries)
    if (t >= boundary) lr *= gamma;
  if (t < warmup_steps)
    lr *= warmup_factor +
          (1 - warmup_factor) * static_cast<double>(t) / static_cast<double>(warmup_steps);
  return lr;
}

}  // namespace frcnn
