#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace frcnn {

/// Reads a JSON file whose outermost value is an object, one member and, in an array, one element
/// at a time: memory follows the largest element, not the file. It finds where values end and
/// leaves their content to a parser; skipped values are checked for balanced brackets only.
class JsonStream {
 public:
  struct Element {
    /// The value as written. At least kPadding readable bytes follow it. Valid until the next call.
    std::string_view text;
    int line = 0;        ///< of its first byte, from 1
    int64_t offset = 0;  ///< of its first byte in the file
  };
  static constexpr size_t kPadding = 64;

  /// Throws Error when the file cannot be read or holds no object.
  explicit JsonStream(const std::filesystem::path& file);
  ~JsonStream();
  JsonStream(const JsonStream&) = delete;
  JsonStream& operator=(const JsonStream&) = delete;

  /// The next member's key (escapes as written); its value must be read or skipped before the next
  /// call. Empty at the end of the object; what follows there must be blank.
  std::optional<std::string> next_key();
  /// Enters the array that is the member's value; false when the value is something else.
  bool enter_array();
  /// The next element of the array entered; empty at its end.
  std::optional<Element> next_element();
  /// The member's value as a whole.
  Element value();
  void skip_value();

 private:
  struct Buffer;
  char peek();
  void skip_blank();
  void expect(char c, const char* where);
  [[noreturn]] void malformed(const std::string& expected);
  Element scan_value(bool keep);

  std::filesystem::path file_;
  std::unique_ptr<Buffer> buffer_;
  bool first_member_ = true, first_element_ = true;
};

}  // namespace frcnn
