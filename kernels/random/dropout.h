#pragma once

#include <cstdint>

#include "kernels/random/philox.h"

namespace frcnn::kernels::cpu {

/// Inverted dropout (Srivastava et al., JMLR 2014): y[i] = x[i] * mask[i] / (1 - p),
/// mask[i] = random_uniform(key, i) >= p, i = index in memory. Nothing is stored: the backward pass
/// is the same function of dy, with the same key. 0 <= p < 1. y may be x. Deterministic.
template <typename T>
void dropout(int64_t count, double p, const RandomKey& key,
             const T* x,  // x, or dy in the backward pass
             T* y);       // y, or dx in the backward pass

}  // namespace frcnn::kernels::cpu
