#include "apps/event_file.h"

#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

static_assert(std::endian::native == std::endian::little, "frames are written as they lie");

template <typename T>
std::string bytes_of(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

/// A message in protocol buffers' wire format: what event.proto and summary.proto need of it.
class Message {
 public:
  Message& number(int field, double value) { return tag(field, 1).add(bytes_of(value)); }
  Message& number(int field, float value) { return tag(field, 5).add(bytes_of(value)); }
  Message& number(int field, int64_t value) {
    return tag(field, 0).varint(static_cast<uint64_t>(value));
  }
  Message& text(int field, std::string_view value) {
    return tag(field, 2).varint(value.size()).add(value);
  }
  const std::string& bytes() const { return bytes_; }

 private:
  Message& tag(int field, int wire) {
    return varint(static_cast<uint64_t>(field) * 8 + static_cast<uint64_t>(wire));
  }
  Message& varint(uint64_t value) {
    for (; value >= 128; value >>= 7) bytes_ += static_cast<char>(value % 128 + 128);
    bytes_ += static_cast<char>(value);
    return *this;
  }
  Message& add(std::string_view value) {
    bytes_ += value;
    return *this;
  }
  std::string bytes_;
};

/// TFRecord's mask, so that a checksum of data with checksums inside means something.
uint32_t masked_crc(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xa282ead8U;
}

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// Event: 1 wall_time, 2 step, 3 file_version, 5 summary, 7 session_log.
Message event(int64_t step) {
  Message message;
  message.number(1, wall_time()).number(2, step);
  return message;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static const std::array<uint32_t, 256> kTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t rest = i;
      for (int bit = 0; bit < 8; ++bit) rest = (rest >> 1) ^ (rest & 1 ? 0x82f63b78U : 0);
      table[i] = rest;
    }
    return table;
  }();
  uint32_t crc = 0xffffffffU;
  for (const char c : bytes) crc = (crc >> 8) ^ kTable[(crc ^ static_cast<uint8_t>(c)) & 0xff];
  return ~crc;
}

EventFile::EventFile(const std::filesystem::path& folder, int64_t step) {
  std::filesystem::create_directories(folder);
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  path_ =
      folder / fmt::format("events.out.tfevents.{:010}.{}.{}", static_cast<int64_t>(wall_time()),
                           host[0] ? host.data() : "host", getpid());
  stream_.open(path_, std::ios::binary);
  check(stream_.is_open(), "{}: cannot be written: {}", path_.string(), std::strerror(errno));
  write(event(0).text(3, "brain.Event:2").bytes());
  // SessionLog { status = START }: what older files have of this step and later ones is void.
  write(event(step + 1).text(7, Message().number(1, int64_t{1}).bytes()).bytes());
}

void EventFile::scalars(int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  // Summary { repeated Value { 1 tag, 2 simple_value } value = 1; }
  Message summary;
  for (const auto& [tag, value] : values)
    summary.text(1, Message().text(1, tag).number(2, static_cast<float>(value)).bytes());
  write(event(step).text(5, summary.bytes()).bytes());
}

void EventFile::write(const std::string& event) {
  const std::string length = bytes_of(static_cast<uint64_t>(event.size()));
  errno = 0;
  stream_ << length << bytes_of(masked_crc(length)) << event << bytes_of(masked_crc(event))
          << std::flush;
  check(stream_.good(), "{}: cannot be written: {}", path_.string(), std::strerror(errno));
}

}  // namespace frcnn::apps
