#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace frcnn {

/// Begins like a JPEG: start-of-image marker and another marker.
bool is_jpeg(std::span<const uint8_t> bytes);

/// Whether the marker structure of a JPEG ends in an end-of-image marker (ITU T.81, annex B). Walks
/// over the segments, so that the end marker of an embedded preview does not count. What follows
/// the end marker is ignored: cameras append there.
bool has_end_of_image(std::span<const uint8_t> jpeg);

/// What the segments of a JPEG tell.
struct JpegStructure {
  uint8_t frame = 0;        ///< marker of the frame header, 0xC0 (SOF0) to 0xCF; 0: there is none
  int precision = 0;        ///< bits per sample
  int components = 0;       ///< 1 gray, 3 colour, 4 CMYK or YCCK
  bool tables = false;      ///< has Huffman tables of its own
  bool ended = false;       ///< has its end marker
  bool first_scans = true;  ///< every component has the scan that the others refine

  bool progressive() const { return frame == 0xC2; }
  /// Why the decoder does not know the process ("lossless", "arithmetic coding"), or empty.
  std::string_view unknown_process() const;
};
JpegStructure jpeg_structure(std::span<const uint8_t> jpeg);
/// The same up to the frame header only.
JpegStructure jpeg_frame(std::span<const uint8_t> jpeg);

/// The Huffman tables of a JPEG as a segment with its marker, empty: it has none.
std::span<const uint8_t> huffman_tables(std::span<const uint8_t> jpeg);

/// Value of the EXIF orientation tag (0x0112 of the first directory in APP1) as stored, 0: absent
/// or unreadable. Every access is bounds-checked: EXIF blocks are often corrupt.
int stored_orientation(std::span<const uint8_t> jpeg);

}  // namespace frcnn
