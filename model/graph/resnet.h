#pragma once

#include "model/graph/network.h"

namespace frcnn {

/// ResNet-18 with pre-activation (He et al., "Identity Mappings in Deep Residual Networks", ECCV
/// 2016) up to the map of stride 32, as the book Dive into Deep Learning takes it from Gluon's
/// resnet18_v2: a picture of 256x256 gives 512 channels of 8x8.
///
///   input_norm                      batch norm of the picture; its scale is 1 and its shift 0
///   conv0, norm0 + ReLU, pool0      7x7/2, 64 channels; 3x3/2
///   stage1 .. stage4                64, 128, 256, 512 channels; stride 1, 2, 2, 2; two units each:
///     norm1 + ReLU, conv1 3x3, norm2 + ReLU, conv2 3x3, sum with the unit's input; where channels
///     change, with `shortcut`, a 1x1 convolution of norm1's result
///   norm5 + ReLU
///
/// Convolutions have no bias. Nodes are "stage2.unit1.conv1"; a stage's last sum is "stage2" too.
Network resnet18_v2_network();

/// The node whose parameters stay 1 and 0.
inline constexpr const char* kResnetInputNorm = "input_norm";

}  // namespace frcnn
