#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "weights/checkpoint.h"

namespace frcnn {

/// Writes a safetensors file: the length of the header (8 bytes, little-endian), the header (JSON:
/// for each name its type, shape and bytes, and `metadata` under "__metadata__"), then the numbers,
/// row-major, little-endian, without gaps. Types f64, f32, i64, i32 and u8 as the tensors have
/// them.
///
/// Tensors may lie on any device and in any memory format; one at a time is copied to the host.
/// Those of wider types come first, then by name, so that the same content gives the same bytes and
/// every array is aligned to its type. Written as a whole or not at all ("<file>.tmp", synced,
/// renamed). Throws Error: a name twice or "__metadata__", text that is not UTF-8, folder missing,
/// disk full.
void save_safetensors(const std::filesystem::path& file,
                      const std::vector<std::pair<std::string, Tensor>>& tensors,
                      const std::map<std::string, std::string>& metadata = {});
void save_safetensors(const std::filesystem::path& file, const TensorMap& tensors,
                      const std::map<std::string, std::string>& metadata = {});

}  // namespace frcnn
