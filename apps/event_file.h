#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace frcnn::apps {

/// A TensorBoard event file: TFRecord frames (length, masked CRC-32C, data, masked CRC-32C) that
/// hold `Event` messages of TensorFlow's event.proto in protocol buffers' wire format.
class EventFile {
 public:
  /// Opens a new file events.out.tfevents.<time>.<host>.<process> in `folder`, which is made if
  /// need be. Its first events make TensorBoard forget what older files of the folder say of steps
  /// after `step`: those of a run that was killed later than its last checkpoint. Throws Error when
  /// it cannot be written.
  EventFile(const std::filesystem::path& folder, int64_t step);

  /// One value for each tag ("loss/total") at a step. Those that are not finite are kept.
  void scalars(int64_t step, const std::vector<std::pair<std::string, double>>& values);

  const std::filesystem::path& path() const { return path_; }

 private:
  void write(const std::string& event);

  std::filesystem::path path_;
  std::ofstream stream_;
};

/// CRC-32C (Castagnoli, polynomial 0x1EDC6F41, reflected) of bytes.
uint32_t crc32c(std::string_view bytes);

}  // namespace frcnn::apps
