#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/image.h"

namespace frcnn::apps {

/// A decoded picture, or why it could not be decoded.
struct Picture {
  std::string name;  ///< of its results
  std::filesystem::path file;
  Image image;
  std::string failure;        ///< empty: decoded
  double decode_seconds = 0;  ///< of one thread
};

/// Pictures one after the other, decoded ahead of the consumer.
class PictureStream {
 public:
  virtual ~PictureStream() = default;
  /// nullopt after the last.
  virtual std::optional<Picture> next() = 0;
  /// How many there are, 0: not known.
  virtual int64_t count() const = 0;
};

/// Picture files, `threads` of them decoded at a time, in the order given.
std::unique_ptr<PictureStream> stream_files(std::vector<std::filesystem::path> files,
                                            std::vector<std::string> names, int threads);

/// Frames of a video through ffmpeg, named "<name>-000001" and so on. `rate` receives its frames
/// per second as a fraction.
std::unique_ptr<PictureStream> stream_video(const std::filesystem::path& file,
                                            const std::string& name, std::string& rate);

}  // namespace frcnn::apps
