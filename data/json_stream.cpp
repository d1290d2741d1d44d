#include "data/json_stream.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "kernels/launch/check.h"

namespace frcnn {
namespace {

enum CharKind : uint8_t { kPlain, kQuote, kOpen, kClose, kNewline, kComma };

constexpr std::array<uint8_t, 256> kKinds = [] {
  std::array<uint8_t, 256> kinds{};
  kinds['"'] = kQuote;
  kinds['{'] = kinds['['] = kOpen;
  kinds['}'] = kinds[']'] = kClose;
  kinds['\n'] = kNewline;
  kinds[','] = kComma;
  return kinds;
}();

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

}  // namespace

/// A window of the file. Bytes from `keep` on stay in memory when more are read.
struct JsonStream::Buffer {
  std::unique_ptr<std::FILE, CloseFile> file;
  std::vector<char> bytes = std::vector<char>((size_t{1} << 20) + kPadding);
  size_t at = 0, end = 0;
  int64_t offset = 0;  // in the file, of bytes[0]
  int line = 1;        // of bytes[at]

  /// Reads more behind `end`; what stands before `keep` is dropped, and `keep` becomes 0. False at
  /// the end of the file.
  bool fill(size_t keep) {
    std::memmove(bytes.data(), bytes.data() + keep, end - keep);
    offset += static_cast<int64_t>(keep);
    at -= keep, end -= keep;
    if (end + kPadding == bytes.size()) bytes.resize((bytes.size() - kPadding) * 2 + kPadding);
    const size_t got = std::fread(bytes.data() + end, 1, bytes.size() - kPadding - end, file.get());
    end += got;
    return got > 0;
  }
};

JsonStream::JsonStream(const std::filesystem::path& file)
    : file_(file), buffer_(std::make_unique<Buffer>()) {
  std::error_code ignored;
  check(!std::filesystem::is_directory(file, ignored), "{}: expected a file, found a folder",
        file.string());
  buffer_->file.reset(std::fopen(file.c_str(), "rb"));
  check(buffer_->file != nullptr, "{}: cannot be read: {}", file.string(), std::strerror(errno));
  buffer_->fill(0);
  check(!std::ferror(buffer_->file.get()), "{}: cannot be read: {}", file.string(),
        std::strerror(errno));
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (std::string_view(buffer_->bytes.data(), buffer_->end).starts_with(kByteOrderMark))
    buffer_->at = kByteOrderMark.size();
  skip_blank();
  check(peek() == '{', "{}:{}: expected a JSON object, found {}", file.string(), buffer_->line,
        peek() == 0 ? "an empty file" : fmt::format("'{}'", peek()));
  ++buffer_->at;
}

JsonStream::~JsonStream() = default;

char JsonStream::peek() {
  Buffer& b = *buffer_;
  if (b.at == b.end && !b.fill(b.at)) return 0;
  return b.bytes[b.at];
}

void JsonStream::skip_blank() {
  for (char c = peek(); c == ' ' || c == '\n' || c == '\r' || c == '\t'; c = peek()) {
    buffer_->line += c == '\n';
    ++buffer_->at;
  }
}

void JsonStream::malformed(const std::string& expected) {
  const char c = peek();
  fail("{}:{}: malformed JSON: expected {}, found {}", file_.string(), buffer_->line, expected,
       c == 0 ? "the end of the file: is it cut short?" : fmt::format("'{}'", c));
}

void JsonStream::expect(char c, const char* where) {
  skip_blank();
  if (peek() != c) malformed(fmt::format("'{}' {}", c, where));
  ++buffer_->at;
}

std::optional<std::string> JsonStream::next_key() {
  skip_blank();
  if (peek() == '}') {
    ++buffer_->at;
    skip_blank();
    if (peek() != 0) malformed("nothing behind the outermost '}'");
    return {};
  }
  if (!first_member_) expect(',', "between members");
  first_member_ = false;
  skip_blank();
  if (peek() != '"') malformed("a key in quotes");
  const std::string_view quoted = scan_value(true).text;
  std::string key(quoted.substr(1, quoted.size() - 2));
  expect(':', "behind a key");
  skip_blank();
  return key;
}

bool JsonStream::enter_array() {
  skip_blank();
  if (peek() != '[') return false;
  ++buffer_->at;
  first_element_ = true;
  return true;
}

std::optional<JsonStream::Element> JsonStream::next_element() {
  skip_blank();
  if (peek() == ']') {
    ++buffer_->at;
    return {};
  }
  if (!first_element_) {
    if (peek() != ',') malformed("',' or ']' behind an element");
    ++buffer_->at;
  }
  first_element_ = false;
  return value();
}

JsonStream::Element JsonStream::value() {
  skip_blank();
  return scan_value(true);
}

void JsonStream::skip_value() {
  skip_blank();
  scan_value(false);
}

/// Moves behind the value at the current byte. With `keep` its text stays in memory.
JsonStream::Element JsonStream::scan_value(bool keep) {
  Buffer& b = *buffer_;
  size_t start = b.at;
  const int line = b.line;
  const int64_t offset = b.offset + static_cast<int64_t>(start);
  int depth = 0;
  const auto more = [&] {
    const size_t from = keep ? start : b.at;
    const bool got = b.fill(from);
    start = 0;
    return got;
  };
  for (bool done = false; !done;) {
    if (b.at == b.end && !more()) malformed("the end of a value");
    const char* const bytes = b.bytes.data();
    size_t at = b.at;
    while (at < b.end && kKinds[static_cast<unsigned char>(bytes[at])] == kPlain) ++at;
    b.at = at;
    if (at == b.end) continue;
    const uint8_t kind = kKinds[static_cast<unsigned char>(bytes[at])];
    if ((kind == kComma || kind == kClose || kind == kNewline) && depth == 0) {
      done = true;  // behind a number or word
      continue;
    }
    ++b.at;
    if (kind == kNewline) {
      ++b.line;
    } else if (kind == kOpen) {
      ++depth;
    } else if (kind == kClose) {
      done = --depth == 0;
    } else if (kind == kQuote) {
      for (bool closed = false; !closed;) {
        if (b.at == b.end && !more()) malformed("the end of a string");
        const char c = b.bytes[b.at++];
        closed = c == '"';
        if (c == '\n') ++b.line;
        if (c != '\\') continue;
        if (b.at == b.end && !more()) malformed("the end of a string");
        ++b.at;
      }
      done = depth == 0;
    }
  }
  if (b.offset + static_cast<int64_t>(b.at) == offset) malformed("a value");
  Element element;
  element.line = line, element.offset = offset;
  if (keep) element.text = std::string_view(b.bytes.data() + start, b.at - start);
  return element;
}

}  // namespace frcnn
