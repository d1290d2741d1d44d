#include "weights/md5.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>
#include <vector>

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

// RFC 1321, section 3.4: floor(2^32 |sin(i + 1)|), and the rotations of the four rounds.
constexpr uint32_t kSines[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};
constexpr int kRotations[4][4] = {
    {7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};

}  // namespace

void Md5::block(const uint8_t* at) {
  uint32_t words[16];
  for (size_t i = 0; i < 16; ++i)
    words[i] = static_cast<uint32_t>(at[4 * i]) | static_cast<uint32_t>(at[4 * i + 1]) << 8 |
               static_cast<uint32_t>(at[4 * i + 2]) << 16 |
               static_cast<uint32_t>(at[4 * i + 3]) << 24;
  uint32_t a = state_[0], b = state_[1], c = state_[2], d = state_[3];
  for (uint32_t i = 0; i < 64; ++i) {
    const uint32_t round = i / 16;
    uint32_t f = 0, word = 0;
    if (round == 0) {
      f = (b & c) | (~b & d);
      word = i;
    } else if (round == 1) {
      f = (d & b) | (~d & c);
      word = 5 * i + 1;
    } else if (round == 2) {
      f = b ^ c ^ d;
      word = 3 * i + 5;
    } else {
      f = c ^ (b | ~d);
      word = 7 * i;
    }
    const uint32_t next =
        b + std::rotl(a + f + kSines[i] + words[word % 16], kRotations[round][i % 4]);
    a = d;
    d = c;
    c = b;
    b = next;
  }
  state_[0] += a;
  state_[1] += b;
  state_[2] += c;
  state_[3] += d;
}

void Md5::add(const void* data, size_t bytes) {
  const auto* at = static_cast<const uint8_t*>(data);
  size_t filled = bytes_ % 64;
  bytes_ += bytes;
  while (bytes > 0) {
    if (filled == 0 && bytes >= 64) {
      block(at);
      at += 64;
      bytes -= 64;
      continue;
    }
    const size_t part = std::min(bytes, 64 - filled);
    std::memcpy(rest_ + filled, at, part);
    at += part;
    bytes -= part;
    filled += part;
    if (filled == 64) {
      block(rest_);
      filled = 0;
    }
  }
}

std::string Md5::finish() {
  const uint64_t bits = 8 * bytes_;
  const uint8_t one = 0x80, zero = 0;
  add(&one, 1);
  while (bytes_ % 64 != 56) add(&zero, 1);
  uint8_t length[8];
  for (size_t i = 0; i < 8; ++i) length[i] = static_cast<uint8_t>(bits >> (8 * i));
  add(length, 8);
  std::string text;
  for (const uint32_t word : state_)
    for (int i = 0; i < 4; ++i) text += fmt::format("{:02x}", word >> (8 * i) & 0xff);
  return text;
}

std::string md5_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  check(in.is_open(), "{}: cannot be opened", file.string());
  std::vector<char> part(size_t{1} << 20);
  Md5 md5;
  while (in) {
    in.read(part.data(), static_cast<std::streamsize>(part.size()));
    md5.add(part.data(), static_cast<size_t>(in.gcount()));
  }
  check(in.eof(), "{}: cannot be read to its end", file.string());
  return md5.finish();
}

std::string published_name(const std::string& md5) {
  // The sums stand in keras.applications.vgg16.
  if (md5 == "64373286793e3c8b2b4e3219cbf3544b")
    return "VGG16 of keras.applications, with top (vgg16_weights_tf_dim_ordering_tf_kernels.h5)";
  if (md5 == "6d6bbae143d832006294945121d1f1fc")
    return "VGG16 of keras.applications, without top "
           "(vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5)";
  return "";
}

}  // namespace frcnn
