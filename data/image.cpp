#include "data/image.h"

#include <stb/stb_image.h>
#include <stb/stb_image_write.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>
#include <memory>

#include "data/decode_memory.h"
#include "data/files.h"
#include "data/jpeg_markers.h"
#include "data/picture_facts.h"
#include "kernels/launch/check.h"

namespace frcnn {
namespace {

struct FreePixels {
  void operator()(void* pixels) const { stbi_image_free(pixels); }
};

/// First bytes of a file that is no picture, for the message.
std::string first_bytes(std::span<const uint8_t> bytes) {
  std::string text;
  for (const uint8_t byte : bytes.first(std::min<size_t>(bytes.size(), 16)))
    text += std::isprint(byte) ? fmt::format("{}", static_cast<char>(byte))
                               : fmt::format("\\x{:02x}", byte);
  return text;
}

ImageInfo header_of(std::span<const uint8_t> bytes, const std::string& name) {
  check(!bytes.empty(), "{}: expected a picture, found an empty file", name);
  check(bytes.size() <= static_cast<size_t>(std::numeric_limits<int>::max()),
        "{}: expected a picture below 2 GiB, found a file of {} bytes", name, bytes.size());
  if (is_jpeg(bytes)) {
    const std::string_view process = jpeg_frame(bytes).unknown_process();
    check(
        process.empty(),
        "{}: expected a JPEG of 8 bits per sample with Huffman coding, found one with {}; convert "
        "it",
        name, process);
  }
  constexpr std::array<uint8_t, 4> kHeader = {'I', 'H', 'D', 'R'};
  if (picture_format(bytes) == PictureFormat::png && bytes.size() >= 24 &&
      std::equal(kHeader.begin(), kHeader.end(), bytes.begin() + 12)) {
    // Beyond this the decoder does not take it for a picture.
    constexpr int64_t kMost = int64_t{1} << 28;
    const auto at = [&](size_t i) {
      return int64_t{bytes[i]} << 24 | bytes[i + 1] << 16 | bytes[i + 2] << 8 | bytes[i + 3];
    };
    const int64_t width = at(16), height = at(20);
    check(height == 0 || width <= kMost / height,
          "{}: expected at most {} pixels, found {}x{} = {}", name, kMost, width, height,
          width * height);
  }
  ImageInfo info;
  int channels = 0;
  if (!stbi_info_from_memory(bytes.data(), static_cast<int>(bytes.size()), &info.stored_width,
                             &info.stored_height, &channels)) {
    fail("{}: expected a picture (JPEG, PNG, BMP, GIF, PNM), found a file that begins '{}' ({})",
         name, first_bytes(bytes), stbi_failure_reason());
  }
  info.orientation = is_jpeg(bytes) ? exif_orientation(bytes) : 1;
  const bool turned = info.orientation >= 5;
  info.width = turned ? info.stored_height : info.stored_width;
  info.height = turned ? info.stored_width : info.stored_height;
  return info;
}

/// What a decoder may hold for a picture: 16 bits per channel with alpha take 8 bytes per pixel,
/// and up to three copies of that exist while a stream unpacks into a growing buffer.
size_t decoder_memory(int64_t pixels) {
  constexpr size_t kMost = size_t{768} << 20, kLeast = size_t{64} << 20;
  return std::min(kMost, kLeast + 32 * static_cast<size_t>(pixels));
}

/// Single pictures of a motion JPEG leave out the Huffman tables: then those of ITU T.81, annex K,
/// are meant. They are also what the encoder writes.
std::vector<uint8_t> with_standard_tables(std::span<const uint8_t> jpeg) {
  const std::vector<uint8_t> own = encode_jpeg(Image(8, 8));
  const std::span<const uint8_t> tables = huffman_tables(own);
  std::vector<uint8_t> out(jpeg.begin(), jpeg.begin() + 2);
  out.insert(out.end(), tables.begin(), tables.end());
  out.insert(out.end(), jpeg.begin() + 2, jpeg.end());
  return out;
}

/// A binary PNM picture of 16-bit samples as one of 8 bits, by their high bytes where the largest
/// is 65535 and in proportion otherwise. stb_image 2.27 takes the low bytes, and reads beyond the
/// end of a buffer when it repeats gray ones.
std::vector<uint8_t> with_8_bit_samples(std::span<const uint8_t> pnm, const std::string& name) {
  size_t at = 2;                   // after P5 or P6
  std::array<size_t, 3> header{};  // width, height, largest value
  const auto next = [&] { return at < pnm.size() ? pnm[at] : uint8_t{'0'}; };
  for (size_t& number : header) {
    for (; std::isspace(next()) || next() == '#'; ++at)
      if (next() == '#')
        while (at < pnm.size() && next() != '\n') ++at;
    for (; at < pnm.size() && std::isdigit(next()) && number < 10'000'000; ++at)
      number = number * 10 + (next() - '0');
  }
  ++at;  // one blank
  const auto [width, height, most] = header;
  const size_t samples = width * height * (pnm[1] == '6' ? 3 : 1);
  check(width < 10'000'000 && height < 10'000'000 && most > 255 && most < 65536,
        "{}: expected a PNM picture of 8 or 16 bits, found {}x{} with values up to {}", name, width,
        height, most);
  check(at <= pnm.size() && (pnm.size() - at) / 2 >= samples,
        "{}: PNM is cut short: expected {} bytes of samples, found {}", name, 2 * samples,
        pnm.size() - std::min(at, pnm.size()));
  const std::string start = fmt::format("P{}\n{} {}\n255\n", char(pnm[1]), width, height);
  std::vector<uint8_t> narrow(start.begin(), start.end());
  narrow.reserve(narrow.size() + samples);
  for (size_t i = 0; i < samples; ++i) {
    const unsigned high = pnm[at + 2 * i], value = high << 8 | pnm[at + 2 * i + 1];
    narrow.push_back(static_cast<uint8_t>(
        most == 65535 ? high : std::min<size_t>(255, (value * 255 + most / 2) / most)));
  }
  return narrow;
}

void append_bytes(void* context, void* data, int size) {
  auto& out = *static_cast<std::vector<uint8_t>*>(context);
  const auto* bytes = static_cast<const uint8_t*>(data);
  out.insert(out.end(), bytes, bytes + size);
}

std::string lower_extension(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension;
}

void check_drawable(const Image& image) {
  check(
      image.width > 0 && image.height > 0 &&
          image.rgb.size() == static_cast<size_t>(image.width) * image.height * 3,
      "[encode] expected a picture of at least 1x1 with 3 bytes per pixel, got {}x{} with {} bytes",
      image.width, image.height, image.rgb.size());
}

}  // namespace

Image::Image(int image_width, int image_height, uint8_t fill)
    : width(image_width),
      height(image_height),
      rgb(static_cast<size_t>(image_width) * image_height * 3, fill) {}

Image decode_image(std::span<const uint8_t> bytes, const std::string& name, int64_t pixel_limit) {
  const ImageInfo info = header_of(bytes, name);
  const int64_t pixels = int64_t{info.stored_width} * info.stored_height;
  check(pixels <= pixel_limit, "{}: expected at most {} pixels, found {}x{} = {}", name,
        pixel_limit, info.stored_width, info.stored_height, pixels);
  std::vector<uint8_t> completed;
  if (is_jpeg(bytes)) {
    // stb_image fills what is missing with gray and reports success.
    const JpegStructure jpeg = jpeg_structure(bytes);
    check(jpeg.ended, "{}: JPEG is cut short: no end marker within its {} bytes", name,
          bytes.size());
    check(jpeg.first_scans, "{}: JPEG lacks the first scan of a component", name);
    if (!jpeg.tables) bytes = completed = with_standard_tables(bytes);
  }
  if (bytes[0] == 'P' &&
      stbi_is_16_bit_from_memory(bytes.data(), static_cast<int>(bytes.size())) != 0)
    bytes = completed = with_8_bit_samples(bytes, name);
  stbi_convert_iphone_png_to_rgb_thread(1);
  Image image;
  int channels = 0;
  const DecodeMemory memory(decoder_memory(pixels));
  const std::unique_ptr<stbi_uc, FreePixels> decoded(stbi_load_from_memory(
      bytes.data(), static_cast<int>(bytes.size()), &image.width, &image.height, &channels, 3));
  check(decoded != nullptr || !memory.exceeded(),
        "{}: expected a picture that decodes within {} MiB, found {}x{} pixels that unpack to more",
        name, decoder_memory(pixels) >> 20, info.stored_width, info.stored_height);
  check(decoded != nullptr, "{}: picture cannot be decoded: {}", name, stbi_failure_reason());
  image.rgb.assign(decoded.get(),
                   decoded.get() + static_cast<size_t>(image.width) * image.height * 3);
  return apply_orientation(std::move(image), info.orientation);
}

Image decode_image(const std::filesystem::path& path, int64_t pixel_limit) {
  return decode_image(read_bytes(path), path.string(), pixel_limit);
}

ImageInfo read_image_info(const std::filesystem::path& path) {
  // Headers stand at the beginning, but a large profile or preview may come first.
  constexpr size_t kUsually = size_t{1} << 16;
  const std::vector<uint8_t> start = read_bytes(path, kUsually);
  int width = 0, height = 0, channels = 0;
  if (start.size() == kUsually &&
      !stbi_info_from_memory(start.data(), kUsually, &width, &height, &channels))
    return header_of(read_bytes(path), path.string());
  return header_of(start, path.string());
}

ImageInfo read_image_info(std::span<const uint8_t> bytes, const std::string& name) {
  return header_of(bytes, name);
}

int exif_orientation(std::span<const uint8_t> jpeg) {
  const int orientation = stored_orientation(jpeg);
  return orientation >= 1 && orientation <= 8 ? orientation : 1;
}

Image apply_orientation(Image stored, int orientation) {
  if (orientation <= 1 || orientation > 8) return stored;
  const int w = stored.width, h = stored.height;
  const bool turned = orientation >= 5;
  Image image(turned ? h : w, turned ? w : h);
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      // (u, v) of the stored picture is shown at (x, y); a turned one swaps the axes first.
      int u = turned ? y : x, v = turned ? x : y;
      if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8)
        u = w - 1 - u;
      if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7)
        v = h - 1 - v;
      std::copy_n(stored.pixel(u, v), 3, image.pixel(x, y));
    }
  }
  return image;
}

std::vector<uint8_t> encode_png(const Image& image) {
  check_drawable(image);
  std::vector<uint8_t> bytes;
  check(stbi_write_png_to_func(append_bytes, &bytes, image.width, image.height, 3, image.rgb.data(),
                               image.width * 3) != 0,
        "[encode_png] a picture of {}x{} cannot be encoded", image.width, image.height);
  return bytes;
}

std::vector<uint8_t> encode_jpeg(const Image& image, int quality) {
  check_drawable(image);
  std::vector<uint8_t> bytes;
  check(stbi_write_jpg_to_func(append_bytes, &bytes, image.width, image.height, 3, image.rgb.data(),
                               std::clamp(quality, 1, 100)) != 0,
        "[encode_jpeg] a picture of {}x{} cannot be encoded", image.width, image.height);
  return bytes;
}

void write_image(const Image& image, const std::filesystem::path& path, int quality) {
  const std::string extension = lower_extension(path);
  if (extension == ".png")
    write_file(path, encode_png(image));
  else if (extension == ".jpg" || extension == ".jpeg")
    write_file(path, encode_jpeg(image, quality));
  else
    fail("{}: expected a name that ends in .png, .jpg or .jpeg, found '{}'", path.string(),
         path.extension().string());
}

bool has_image_extension(const std::filesystem::path& path) {
  constexpr std::array kKnown = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm"};
  const std::string extension = lower_extension(path);
  return std::find(kKnown.begin(), kKnown.end(), extension) != kKnown.end();
}

}  // namespace frcnn
