#include "data/jpeg_markers.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <set>

namespace frcnn {
namespace {

constexpr uint8_t kSoi = 0xD8, kEoi = 0xD9, kSos = 0xDA, kApp1 = 0xE1, kDht = 0xC4;

/// Marker without a length field: TEM and the restart markers.
bool stands_alone(uint8_t marker) {
  return marker == 0x01 || (marker >= 0xD0 && marker <= 0xD7);
}

struct Segment {
  uint8_t marker = 0;
  std::span<const uint8_t> body;  // without marker and length
};

/// Walks over the segments of a JPEG; next() gives nothing at the end marker or when bytes run out.
class SegmentReader {
 public:
  explicit SegmentReader(std::span<const uint8_t> jpeg) : bytes_(jpeg) {}

  bool at_end_marker() const { return ended_; }

  std::optional<Segment> next() {
    while (find_marker()) {
      const uint8_t marker = bytes_[at_ - 1];
      if (marker == kEoi) {
        ended_ = true;
        return {};
      }
      if (marker == kSoi || stands_alone(marker)) continue;
      if (at_ + 2 > bytes_.size()) return {};
      const size_t length = static_cast<size_t>(bytes_[at_] << 8 | bytes_[at_ + 1]);
      if (length < 2 || at_ + length > bytes_.size()) return {};
      const Segment segment{marker, bytes_.subspan(at_ + 2, length - 2)};
      at_ += length;
      return segment;
    }
    return {};
  }

 private:
  /// Puts at_ behind the next marker. Entropy-coded data holds 0xFF only as FF 00 and as restart
  /// markers, and a marker may be preceded by fill bytes FF.
  bool find_marker() {
    while (at_ + 1 < bytes_.size()) {
      const void* next = std::memchr(bytes_.data() + at_, 0xFF, bytes_.size() - 1 - at_);
      if (next == nullptr) break;
      at_ = static_cast<size_t>(static_cast<const uint8_t*>(next) - bytes_.data());
      if (bytes_[at_ + 1] != 0x00 && bytes_[at_ + 1] != 0xFF) {
        at_ += 2;
        return true;
      }
      ++at_;
    }
    return false;
  }

  std::span<const uint8_t> bytes_;
  size_t at_ = 0;
  bool ended_ = false;
};

/// Integers of a TIFF block in its byte order; nothing when they would lie outside.
class TiffReader {
 public:
  explicit TiffReader(std::span<const uint8_t> bytes) : bytes_(bytes) {
    constexpr std::array<uint8_t, 4> kLittle = {'I', 'I', 42, 0}, kBig = {'M', 'M', 0, 42};
    if (bytes.size() < 8) return;
    little_ = std::equal(kLittle.begin(), kLittle.end(), bytes.begin());
    valid_ = little_ || std::equal(kBig.begin(), kBig.end(), bytes.begin());
  }

  bool valid() const { return valid_; }

  std::optional<uint32_t> get(uint64_t offset, unsigned size) const {
    if (offset + size > bytes_.size()) return {};
    uint32_t value = 0;
    for (unsigned i = 0; i < size; ++i)
      value = value << 8 | bytes_[offset + (little_ ? size - 1 - i : i)];
    return value;
  }

 private:
  std::span<const uint8_t> bytes_;
  bool little_ = false, valid_ = false;
};

int orientation_in(std::span<const uint8_t> tiff_block) {
  constexpr uint32_t kOrientationTag = 0x0112, kShort = 3, kLong = 4;
  const TiffReader tiff(tiff_block);
  if (!tiff.valid()) return 0;
  const uint64_t directory = tiff.get(4, 4).value_or(0);
  const uint32_t entries = tiff.get(directory, 2).value_or(0);
  for (uint64_t i = 0; i < entries; ++i) {
    const uint64_t entry = directory + 2 + 12 * i;
    const std::optional<uint32_t> tag = tiff.get(entry, 2);
    if (!tag) return 0;
    if (*tag != kOrientationTag) continue;
    const uint32_t type = tiff.get(entry + 2, 2).value_or(0);
    if (type != kShort && type != kLong) return 0;
    const uint32_t value = tiff.get(entry + 8, type == kShort ? 2 : 4).value_or(0);
    return value <= 8 ? static_cast<int>(value) : 0;
  }
  return 0;
}

}  // namespace

bool is_jpeg(std::span<const uint8_t> bytes) {
  return bytes.size() >= 3 && bytes[0] == 0xFF && bytes[1] == kSoi && bytes[2] == 0xFF;
}

bool has_end_of_image(std::span<const uint8_t> jpeg) {
  SegmentReader segments(jpeg);
  while (segments.next()) {
  }
  return segments.at_end_marker();
}

std::string_view JpegStructure::unknown_process() const {
  if (frame == 0) return {};
  if (frame == 0xC3) return "lossless coding";
  if (frame >= 0xC5 && frame <= 0xC7) return "hierarchical coding";
  if (frame > 0xC8) return "arithmetic coding";
  return precision != 8 ? "another number of bits per sample" : "";
}

namespace {

/// Takes over a frame header; false: the segment is none.
bool read_frame(const Segment& segment, JpegStructure& found, std::set<uint8_t>& components) {
  const uint8_t m = segment.marker;
  const std::span<const uint8_t> body = segment.body;
  // SOF0 to SOF15; C4, C8 and CC among them are other segments.
  if (m < 0xC0 || m > 0xCF || m == kDht || m == 0xC8 || m == 0xCC || body.size() < 6) return false;
  found.frame = m, found.precision = body[0], found.components = body[5];
  for (size_t at = 6; at + 3 <= body.size(); at += 3) components.insert(body[at]);
  return true;
}

}  // namespace

JpegStructure jpeg_frame(std::span<const uint8_t> jpeg) {
  JpegStructure found;
  std::set<uint8_t> components;
  SegmentReader segments(jpeg);
  while (const std::optional<Segment> segment = segments.next())
    if (read_frame(*segment, found, components) || segment->marker == kSos) break;
  return found;
}

JpegStructure jpeg_structure(std::span<const uint8_t> jpeg) {
  JpegStructure found;
  std::set<uint8_t> components, started;
  SegmentReader segments(jpeg);
  while (const std::optional<Segment> segment = segments.next()) {
    const std::span<const uint8_t> body = segment->body;
    if (read_frame(*segment, found, components)) continue;
    if (segment->marker == kDht) found.tables = true;
    if (segment->marker != kSos || body.empty() || body.size() < 4 + 2 * size_t{body[0]}) continue;
    const size_t behind = 1 + 2 * size_t{body[0]};
    const bool first = body[behind] == 0 && body[behind + 2] >> 4 == 0;
    for (size_t at = 1; first && at < behind; at += 2) started.insert(body[at]);
  }
  found.ended = segments.at_end_marker();
  found.first_scans =
      std::includes(started.begin(), started.end(), components.begin(), components.end());
  return found;
}

std::span<const uint8_t> huffman_tables(std::span<const uint8_t> jpeg) {
  SegmentReader segments(jpeg);
  while (const std::optional<Segment> segment = segments.next()) {
    if (segment->marker != kDht) continue;
    const auto at = static_cast<size_t>(segment->body.data() - jpeg.data());
    return jpeg.subspan(at - 4, segment->body.size() + 4);
  }
  return {};
}

int stored_orientation(std::span<const uint8_t> jpeg) {
  constexpr std::array<uint8_t, 6> kExif = {'E', 'x', 'i', 'f', 0, 0};
  SegmentReader segments(jpeg);
  while (const std::optional<Segment> segment = segments.next()) {
    if (segment->marker == kSos) return 0;
    if (segment->marker != kApp1 || segment->body.size() < kExif.size()) continue;
    if (!std::equal(kExif.begin(), kExif.end(), segment->body.begin())) continue;
    return orientation_in(segment->body.subspan(kExif.size()));
  }
  return 0;
}

}  // namespace frcnn
