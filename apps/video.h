#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "apps/child_process.h"
#include "data/image.h"

namespace frcnn::apps {

/// Frames of a video file as `ffmpeg` decodes them, in order, turned as players show them. The
/// programs ffmpeg and ffprobe must be on PATH.
class VideoReader {
 public:
  /// Throws Error when there is no ffmpeg (with what to install), or the file has no video.
  explicit VideoReader(const std::filesystem::path& file);

  /// The next frame; nullopt after the last. Throws Error with ffmpeg's own words when it failed.
  std::optional<Image> next();

  /// Frames per second as the fraction that ffmpeg takes ("30000/1001").
  const std::string& rate() const { return rate_; }
  /// What the container says, 0: nothing. An estimate for progress.
  int64_t frames() const { return frames_; }

 private:
  std::filesystem::path file_;
  std::string rate_;
  int64_t frames_ = 0;
  Descriptor pipe_, errors_;
  std::optional<ChildProcess> ffmpeg_;
};

/// Writes frames of one size to a video file through ffmpeg, under a temporary name until finish():
/// nothing half-written stays.
class VideoWriter {
 public:
  /// The container follows the extension of `file`; .mp4 plays everywhere.
  VideoWriter(const std::filesystem::path& file, int width, int height, const std::string& rate);
  ~VideoWriter();
  VideoWriter(const VideoWriter&) = delete;
  VideoWriter& operator=(const VideoWriter&) = delete;

  /// Throws Error with ffmpeg's own words when it ended early, or the frame has another size.
  void write(const Image& frame);
  void finish();

 private:
  std::filesystem::path file_, temporary_;
  int width_ = 0, height_ = 0;
  Descriptor socket_, errors_;
  std::optional<ChildProcess> ffmpeg_;
};

}  // namespace frcnn::apps
