#pragma once

#include <cstdint>
#include <span>

namespace frcnn {

/// Begins like a JPEG: start-of-image marker and another marker.
bool is_jpeg(std::span<const uint8_t> bytes);

/// Whether the marker structure of a JPEG ends in an end-of-image marker (ITU T.81, annex B). Walks
/// over the segments, so that the end marker of an embedded preview does not count. What follows
/// the end marker is ignored: cameras append there.
bool has_end_of_image(std::span<const uint8_t> jpeg);

/// Components per pixel by the frame header: 1 gray, 3 colour, 4 CMYK or YCCK; 0: no frame header.
int jpeg_components(std::span<const uint8_t> jpeg);

/// Value of the EXIF orientation tag (0x0112 of the first directory in APP1) as stored, 0: absent
/// or unreadable. Every access is bounds-checked: EXIF blocks are often corrupt.
int stored_orientation(std::span<const uint8_t> jpeg);

}  // namespace frcnn
