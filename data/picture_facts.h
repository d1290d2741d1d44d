#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "data/image.h"

namespace frcnn {

enum class PictureFormat : uint8_t { unknown, jpeg, png, bmp, gif, pnm };

/// By the first bytes of a file.
PictureFormat picture_format(std::span<const uint8_t> bytes);
/// "JPEG", "PNG", ...
std::string_view name_of(PictureFormat format);
/// The extension that a file of the format should have, with its dot; "" for unknown.
std::string_view extension_of(PictureFormat format);
/// What the extension of a name promises.
PictureFormat promised_format(const std::filesystem::path& path);

/// What a file tells about its picture without being decoded.
struct PictureFacts {
  PictureFormat format = PictureFormat::unknown;
  ImageInfo info;
  int channels = 0;  ///< as stored: 1 gray, 2 gray and alpha, 3 colour, 4 with alpha or CMYK
  int bits = 8;      ///< per channel
  bool cmyk = false;
  bool whole = true;  ///< false: the file ends before its picture does
  std::string error;  ///< why it is no usable picture (a message that names the file), or empty
  int64_t bytes = 0;  ///< of the file
  std::array<uint64_t, 2> hash = {};  ///< of the content, see content_hash()
};

/// Reads the file once. With `deep` the picture is decoded, which finds damage inside of it, and
/// `hash` is that of its pixels: the same picture saved twice counts as the same. Never throws for
/// what is in the file.
PictureFacts look_at_picture(const std::filesystem::path& path, bool deep);

/// 128 bits that differ for different contents but for a chance of about 2^-100: FNV-1a over words
/// of 8 bytes, with two multipliers and a final mixing. Not for contents made to collide.
std::array<uint64_t, 2> content_hash(std::span<const uint8_t> bytes);

}  // namespace frcnn
