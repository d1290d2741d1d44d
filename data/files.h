#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace frcnn {

/// Whole file as bytes or text. Throws Error naming the file and the system's reason.
std::vector<uint8_t> read_bytes(const std::filesystem::path& path);
/// The first `limit` bytes, fewer if the file is shorter.
std::vector<uint8_t> read_bytes(const std::filesystem::path& path, size_t limit);
std::string read_text(const std::filesystem::path& path);

/// Writes to a temporary name in the same folder, then renames: a reader never sees half a file.
/// Throws Error naming the file and the system's reason (no such folder, read-only, disk full).
void write_file(const std::filesystem::path& path, std::span<const uint8_t> bytes);
void write_file(const std::filesystem::path& path, std::string_view text);

/// Makes a folder as a whole: `fill` writes below a temporary name beside it, which is then
/// renamed. Throws Error when the folder exists and is not empty; leaves nothing behind when `fill`
/// throws.
void write_folder(const std::filesystem::path& folder,
                  const std::function<void(const std::filesystem::path&)>& fill);

/// Line number (from 1) of byte `offset` of a text.
int line_of(std::string_view text, size_t offset);

}  // namespace frcnn
