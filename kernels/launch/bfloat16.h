#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/launch/host_device.h"

namespace frcnn::kernels {

/// bfloat16: the upper half of a float32 (8 bits of exponent, 7 of fraction). A storage type; sums
/// are taken in float. The same bits on every device, without a CUDA header.
struct Bfloat16 {
  uint16_t bits = 0;

  Bfloat16() = default;
  /// Round to nearest, ties to even; NaN stays (quiet) NaN.
  FRCNN_HOST_DEVICE explicit Bfloat16(float value) {
    uint32_t word;
    memcpy(&word, &value, sizeof word);
    bits = static_cast<uint16_t>((word & 0x7FFFFFFFu) > 0x7F800000u
                                     ? (word >> 16) | 0x0040u
                                     : (word + 0x7FFFu + ((word >> 16) & 1u)) >> 16);
  }
  FRCNN_HOST_DEVICE explicit operator float() const {
    const uint32_t word = uint32_t{bits} << 16;
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
  }
};
static_assert(sizeof(Bfloat16) == 2);

}  // namespace frcnn::kernels
