#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace frcnn::test {

/// A JPEG with an APP1 segment put behind its start marker.
inline std::vector<uint8_t> with_app1(const std::vector<uint8_t>& jpeg,
                                      const std::vector<uint8_t>& body) {
  const size_t length = body.size() + 2;
  std::vector<uint8_t> segment = {0xFF, 0xE1, static_cast<uint8_t>(length >> 8),
                                  static_cast<uint8_t>(length)};
  segment.insert(segment.end(), body.begin(), body.end());
  std::vector<uint8_t> out = jpeg;
  out.insert(out.begin() + 2, segment.begin(), segment.end());
  return out;
}

/// EXIF block with one entry, the orientation, in either byte order.
inline std::vector<uint8_t> exif_block(uint8_t orientation, bool little) {
  if (little)
    return {'E',  'x', 'i', 'f', 0, 0, 'I', 'I', 42,          0, 8, 0, 0, 0, 1, 0,
            0x12, 1,   3,   0,   1, 0, 0,   0,   orientation, 0, 0, 0, 0, 0, 0, 0};
  return {'E', 'x',  'i', 'f', 0, 0, 'M', 'M', 0, 42,          0, 0, 0, 8, 0, 1,
          1,   0x12, 0,   3,   0, 0, 0,   1,   0, orientation, 0, 0, 0, 0, 0, 0};
}

/// Writes the parts of a PNG, with stored (not compressed) deflate blocks.
class PngMaker {
 public:
  /// `colour`: 0 gray, 2 RGB, 4 gray and alpha, 6 RGBA. `raw`: the rows, each behind a filter byte.
  static std::vector<uint8_t> png(uint32_t width, uint32_t height, uint8_t bits, uint8_t colour,
                                  const std::vector<uint8_t>& raw) {
    return packed(width, height, bits, colour, stored(raw));
  }

  /// The same with a zlib stream given.
  static std::vector<uint8_t> packed(uint32_t width, uint32_t height, uint8_t bits, uint8_t colour,
                                     const std::vector<uint8_t>& stream) {
    PngMaker maker;
    std::vector<uint8_t> header;
    put32(header, width), put32(header, height);
    header.insert(header.end(), {bits, colour, 0, 0, 0});
    maker.chunk("IHDR", header);
    maker.chunk("IDAT", stream);
    maker.chunk("IEND", {});
    return maker.out_;
  }

  /// A zlib stream of stored blocks.
  static std::vector<uint8_t> stored(const std::vector<uint8_t>& raw) {
    std::vector<uint8_t> out = {0x78, 0x01};
    for (size_t at = 0; at < raw.size() || at == 0;) {
      const size_t size = raw.size() - at < 65535 ? raw.size() - at : 65535;
      const auto low = static_cast<uint8_t>(size), high = static_cast<uint8_t>(size >> 8);
      out.push_back(at + size == raw.size() ? 1 : 0);
      out.insert(out.end(), {low, high, static_cast<uint8_t>(~low), static_cast<uint8_t>(~high)});
      out.insert(out.end(), raw.begin() + static_cast<ptrdiff_t>(at),
                 raw.begin() + static_cast<ptrdiff_t>(at + size));
      at += size;
      if (size == 0) break;
    }
    uint32_t a = 1, b = 0;
    for (const uint8_t byte : raw) a = (a + byte) % 65521, b = (b + a) % 65521;
    put32(out, b << 16 | a);
    return out;
  }

  static void put32(std::vector<uint8_t>& out, uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8)
      out.push_back(static_cast<uint8_t>(value >> shift));
  }

 private:
  void chunk(const char* type, const std::vector<uint8_t>& data) {
    put32(out_, static_cast<uint32_t>(data.size()));
    const size_t start = out_.size();
    out_.insert(out_.end(), type, type + 4);
    out_.insert(out_.end(), data.begin(), data.end());
    uint32_t crc = 0xFFFFFFFF;
    for (size_t i = start; i < out_.size(); ++i) {
      crc ^= out_[i];
      for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xEDB88320 : 0);
    }
    put32(out_, ~crc);
  }

  std::vector<uint8_t> out_ = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
};

}  // namespace frcnn::test
