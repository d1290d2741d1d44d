#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace frcnn {

/// MD5 (RFC 1321) of bytes that come in parts. Names published files, whose MD5 their authors give;
/// it proves nothing about who made a file. (Boost's version is a detail of its UUIDs whose byte
/// order changed between releases.)
class Md5 {
 public:
  void add(const void* data, size_t bytes);
  /// 32 lower-case hexadecimal digits; ends the object's use.
  std::string finish();

 private:
  void block(const uint8_t* at);
  uint32_t state_[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
  uint8_t rest_[64] = {};
  uint64_t bytes_ = 0;
};

/// Throws Error when the file cannot be read.
std::string md5_of(const std::filesystem::path& file);

/// What a published file of weights is, by its MD5: "VGG16 of keras.applications, with top"; "" for
/// any other.
std::string published_name(const std::string& md5);

}  // namespace frcnn
