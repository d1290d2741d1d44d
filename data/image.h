#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace frcnn {

/// A picture as 8-bit R, G, B: (height, width, 3), row by row from the top.
struct Image {
  int width = 0, height = 0;
  std::vector<uint8_t> rgb;

  Image() = default;
  Image(int image_width, int image_height, uint8_t fill = 0);
  uint8_t* pixel(int x, int y) { return &rgb[(static_cast<size_t>(y) * width + x) * 3]; }
  const uint8_t* pixel(int x, int y) const {
    return &rgb[(static_cast<size_t>(y) * width + x) * 3];
  }
  bool operator==(const Image&) const = default;
};

/// Most cameras give less. Decoding at this limit takes less than 1 GiB.
inline constexpr int64_t kDefaultPixelLimit = 100'000'000;

/// Decodes JPEG, PNG, BMP, GIF (first frame) and PNM. EXIF orientation of a JPEG is applied, once:
/// the result is the picture as viewers show it. Grayscale is repeated to three channels, alpha is
/// dropped (not blended), 16-bit values keep their high byte. Throws Error naming the file when it
/// is missing, not a picture, cut short (a JPEG without end marker included), larger than
/// `pixel_limit` (a small file can claim an enormous picture), or unpacks to far more than its size
/// needs (at most 32 bytes per pixel and 64 MiB, 768 MiB in all, while it is decoded).
Image decode_image(const std::filesystem::path& path, int64_t pixel_limit = kDefaultPixelLimit);

/// The same from memory; `name` stands for the file in messages.
Image decode_image(std::span<const uint8_t> bytes, const std::string& name,
                   int64_t pixel_limit = kDefaultPixelLimit);

/// What a picture's header says.
struct ImageInfo {
  int width = 0, height = 0;  ///< after orientation
  int stored_width = 0, stored_height = 0;
  int orientation = 1;  ///< EXIF, 1..8; invalid ones read as 1
};
ImageInfo read_image_info(const std::filesystem::path& path);
ImageInfo read_image_info(std::span<const uint8_t> bytes, const std::string& name);

/// EXIF orientation of a JPEG file, 1..8; 1 when there is none, or it is invalid or corrupt.
int exif_orientation(std::span<const uint8_t> jpeg);

/// Turns a picture as stored into the picture as meant by EXIF `orientation`.
Image apply_orientation(Image stored, int orientation);

/// Encoded bytes; `quality` 1..100.
std::vector<uint8_t> encode_png(const Image& image);
std::vector<uint8_t> encode_jpeg(const Image& image, int quality = 92);

/// Writes PNG or JPEG by the extension (.png, .jpg, .jpeg) to a temporary name in the same folder,
/// then renames.
void write_image(const Image& image, const std::filesystem::path& path, int quality = 92);

/// Names that decode_image() may accept, by extension: .jpg .jpeg .png .bmp .gif .ppm .pgm.
bool has_image_extension(const std::filesystem::path& path);

}  // namespace frcnn
