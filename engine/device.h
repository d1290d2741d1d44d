#pragma once

#include <cstdint>
#include <string>

namespace frcnn {

/// Where a tensor's memory is. `index` counts the devices of one type.
struct Device {
  enum class Type : uint8_t { cpu, cuda };
  Type type = Type::cpu;
  int index = 0;
  constexpr bool operator==(const Device&) const = default;
  /// "cpu" or "cuda:0".
  std::string name() const;
};

}  // namespace frcnn
