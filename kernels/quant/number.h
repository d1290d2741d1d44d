#pragma once

#include <cstdint>

namespace frcnn::kernels {

/// The numbers that a layer of reduced precision reads and writes on the CPU. Integers q stand for
/// scale * q with one scale per map (symmetric quantisation, zero point 0): u8 for maps without
/// negative values, as a ReLU leaves them, i8 (-127 to 127) for others.
enum class LayerNumber : uint8_t { f32, bf16, u8, i8 };

constexpr bool is_integer(LayerNumber number) {
  return number == LayerNumber::u8 || number == LayerNumber::i8;
}
/// The largest integer of a type: scale = largest value / largest_integer().
constexpr int largest_integer(LayerNumber number) {
  return number == LayerNumber::u8 ? 255 : 127;
}
constexpr int64_t bytes_of(LayerNumber number) {
  return number == LayerNumber::f32 ? 4 : number == LayerNumber::bf16 ? 2 : 1;
}

}  // namespace frcnn::kernels
