#pragma once

#include <cmath>

#include "kernels/launch/host_device.h"

namespace frcnn::kernels {

/// Focal loss (Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, equation 5): the
/// cross-entropy -log p of the true class becomes
///   -a (1 - p)^gamma log p,   a = alpha for objects (label above 0), 1 - alpha for background,
/// and a = 1 where alpha is below 0. The defaults are the plain cross-entropy.
struct Focal {
  double gamma = 0;
  double alpha = -1;

  FRCNN_HOST_DEVICE bool plain() const { return gamma == 0 && alpha < 0; }
  FRCNN_HOST_DEVICE double weight(bool object) const {
    return alpha < 0 ? 1.0 : object ? alpha : 1 - alpha;
  }
  /// The loss with p the probability of the true class, q = 1 - p, entropy = -log p.
  FRCNN_HOST_DEVICE double loss(bool object, double q, double entropy) const {
    return weight(object) * std::pow(q, gamma) * entropy;
  }
  /// What the gradient of the cross-entropy with respect to any logit is multiplied by. From
  /// d(-q^gamma log p) = (q^gamma - gamma p q^(gamma - 1) log p) d(-log p), with log p / q -> -1
  /// where q vanishes.
  FRCNN_HOST_DEVICE double slope(bool object, double p, double q) const {
    if (gamma == 0) return weight(object);
    const double share = q > 0 && p > 0 ? -p * std::log(p) / q : p;  // 1 at q = 0, 0 at p = 0
    return weight(object) * std::pow(q, gamma) * (1 + gamma * share);
  }
};

}  // namespace frcnn::kernels
