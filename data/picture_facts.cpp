#include "data/picture_facts.h"

#include <stb/stb_image.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <cstring>

#include "data/files.h"
#include "data/jpeg_markers.h"
#include "kernels/launch/check.h"

namespace frcnn {
namespace {

constexpr std::array<uint8_t, 8> kPngSignature = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};

bool begins(std::span<const uint8_t> bytes, std::string_view text) {
  return bytes.size() >= text.size() && std::memcmp(bytes.data(), text.data(), text.size()) == 0;
}

uint32_t big_endian(std::span<const uint8_t> bytes, size_t at) {
  return uint32_t{bytes[at]} << 24 | uint32_t{bytes[at + 1]} << 16 | uint32_t{bytes[at + 2]} << 8 |
         bytes[at + 3];
}

/// Whether the chunks of a PNG follow each other up to IEND.
bool png_ends(std::span<const uint8_t> bytes) {
  for (size_t at = kPngSignature.size(); at + 12 <= bytes.size();) {
    const size_t length = big_endian(bytes, at);
    if (length > bytes.size() - at - 12) return false;
    if (std::memcmp(bytes.data() + at + 4, "IEND", 4) == 0) return true;
    at += 12 + length;
  }
  return false;
}

bool is_whole(PictureFormat format, std::span<const uint8_t> bytes) {
  switch (format) {
    case PictureFormat::jpeg:
      return has_end_of_image(bytes);
    case PictureFormat::png:
      return png_ends(bytes);
    default:  // decoding tells
      return true;
  }
}

uint64_t mixed(uint64_t x) {
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93u;
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93u;
  return x ^ x >> 32;
}

}  // namespace

PictureFormat picture_format(std::span<const uint8_t> bytes) {
  if (is_jpeg(bytes)) return PictureFormat::jpeg;
  if (bytes.size() >= 8 && std::equal(kPngSignature.begin(), kPngSignature.end(), bytes.begin()))
    return PictureFormat::png;
  if (begins(bytes, "BM")) return PictureFormat::bmp;
  if (begins(bytes, "GIF8")) return PictureFormat::gif;
  if (begins(bytes, "P5") || begins(bytes, "P6")) return PictureFormat::pnm;
  return PictureFormat::unknown;
}

std::string_view name_of(PictureFormat format) {
  constexpr std::array<std::string_view, 6> kNames = {"unknown", "JPEG", "PNG",
                                                      "BMP",     "GIF",  "PNM"};
  return kNames.at(static_cast<size_t>(format));
}

std::string_view extension_of(PictureFormat format) {
  constexpr std::array<std::string_view, 6> kExtensions = {"",     ".jpg", ".png",
                                                           ".bmp", ".gif", ".ppm"};
  return kExtensions.at(static_cast<size_t>(format));
}

PictureFormat promised_format(const std::filesystem::path& path) {
  std::string e = path.extension().string();
  std::transform(e.begin(), e.end(), e.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (e == ".jpg" || e == ".jpeg") return PictureFormat::jpeg;
  if (e == ".png") return PictureFormat::png;
  if (e == ".bmp") return PictureFormat::bmp;
  if (e == ".gif") return PictureFormat::gif;
  if (e == ".ppm" || e == ".pgm" || e == ".pnm") return PictureFormat::pnm;
  return PictureFormat::unknown;
}

std::array<uint64_t, 2> content_hash(std::span<const uint8_t> bytes) {
  std::array<uint64_t, 2> h = {14695981039346656037u, 0x9E3779B97F4A7C15u};
  const auto add = [&](uint64_t word) {
    h[0] = std::rotl((h[0] ^ word) * 1099511628211u, 29);
    h[1] = std::rotl((h[1] ^ word) * 0xC2B2AE3D27D4EB4Fu, 31);
  };
  size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, 8);
    add(word);
  }
  uint64_t rest = 0;
  for (; at < bytes.size(); ++at) rest = rest << 8 | bytes[at];
  add(rest);
  add(bytes.size());
  return {mixed(h[0]), mixed(h[1] + h[0])};
}

PictureFacts look_at_picture(const std::filesystem::path& path, bool deep) {
  PictureFacts facts;
  try {
    const std::vector<uint8_t> bytes = read_bytes(path);
    facts.bytes = static_cast<int64_t>(bytes.size());
    facts.format = picture_format(bytes);
    facts.hash = content_hash(bytes);
    facts.info = read_image_info(bytes, path.string());
    const int size = static_cast<int>(bytes.size());
    int w = 0, h = 0;
    if (!stbi_info_from_memory(bytes.data(), size, &w, &h, &facts.channels)) facts.channels = 0;
    if (facts.format == PictureFormat::jpeg) {
      facts.channels = jpeg_frame(bytes).components;
      facts.cmyk = facts.channels == 4;
    }
    facts.bits = stbi_is_16_bit_from_memory(bytes.data(), size) ? 16 : 8;
    facts.whole = is_whole(facts.format, bytes);
    // The other formats are hardly compressed: decoding them costs no more than reading them.
    const bool cheap = facts.format != PictureFormat::jpeg && facts.format != PictureFormat::png;
    if (!facts.whole || !(deep || cheap)) return facts;
    const Image image = decode_image(bytes, path.string());
    if (!deep) return facts;
    facts.hash = content_hash(image.rgb);
    facts.hash[0] ^= mixed(static_cast<uint64_t>(image.width));
  } catch (const Error& error) {
    facts.error = error.what();
  }
  return facts;
}

}  // namespace frcnn
