#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

#include "kernels/launch/check.h"
#include "weights/pickle.h"

namespace frcnn::pickle {

/// The bytes of a pickle, one after the other. Error, beginning with `where`, at their end. Both
/// arguments must outlive the object.
class Input {
 public:
  Input(const Refill& refill, const std::string& where) : refill_(refill), where_(where) {}

  uint8_t byte() {
    if (at_ == filled_) fill();
    ++taken_;
    return static_cast<uint8_t>(buffer_[at_++]);
  }

  /// An unsigned number of N bytes, little-endian.
  template <int N>
  uint64_t number() {
    uint64_t value = 0;
    for (int i = 0; i < N; ++i) value |= uint64_t{byte()} << (8 * i);
    return value;
  }

  /// Grown as bytes arrive, so that a length that was made up asks for no memory.
  std::string bytes(uint64_t count) {
    std::string out;
    while (out.size() < count) {
      if (at_ == filled_) fill();
      const size_t part = std::min<uint64_t>(count - out.size(), filled_ - at_);
      out.append(buffer_.data() + at_, part);
      at_ += part;
      taken_ += part;
    }
    return out;
  }

  /// Up to a line feed, which is dropped.
  std::string line() {
    constexpr size_t kLongest = 1 << 20;
    std::string out;
    for (uint8_t c = byte(); c != '\n'; c = byte()) {
      check(out.size() < kLongest, "{}: a line of more than {} bytes in the pickle", where_,
            kLongest);
      out += static_cast<char>(c);
    }
    return out;
  }

  uint64_t taken() const { return taken_; }

 private:
  void fill() {
    filled_ = refill_(buffer_.data(), buffer_.size());
    at_ = 0;
    check(filled_ > 0, "{}: the pickle is cut short after {} bytes", where_, taken_);
  }

  const Refill& refill_;
  const std::string& where_;
  std::array<char, 1 << 14> buffer_;
  size_t at_ = 0, filled_ = 0;
  uint64_t taken_ = 0;
};

}  // namespace frcnn::pickle
