#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "apps/picture_stream.h"
#include "data/detections_io.h"
#include "model/types.h"

namespace frcnn::apps {

class VideoWriter;

struct DetectOutputOptions {
  std::string folder;  ///< empty: no files
  std::vector<std::string>
      formats;               ///< of formats(); empty: pictures, json and, without videos, text
  bool no_pictures = false;  ///< leaves "pictures" out
  bool track_time = false;
};

/// What `frcnn detect` writes: files of the formats asked for, and what is printed at the end.
class DetectOutput {
 public:
  DetectOutput(const DetectOutputOptions& options, std::vector<std::string> class_names);
  ~DetectOutput();

  /// Names that DetectOutputOptions::formats may hold.
  static std::vector<std::string> formats();

  /// Takes the detections of the next picture and writes what belongs to it alone.
  /// `detect_seconds`: what the network took for it.
  void add(Picture picture, const std::vector<ScoredBox>& found, double detect_seconds);

  /// Pictures between the two are frames of a video.
  void begin_video(const std::string& name, const std::string& rate);
  void end_video();

  /// Writes the files that hold all pictures.
  void finish();

  /// COCO results JSON of all pictures.
  std::string json() const;
  /// Lines for a person: what was found, what was written, what it took.
  std::string summary() const;
  int64_t pictures() const { return static_cast<int64_t>(set_.images.size()); }
  int64_t objects() const { return static_cast<int64_t>(detections_.size()); }
  int64_t frames() const { return frames_; }  ///< of the video, so far

 private:
  struct Times {
    double decode = 0, detect = 0, write = 0;  // seconds
    size_t objects = 0;
  };

  bool writes(const std::string& format) const;
  std::filesystem::path voc_folder() const;
  void write_voc() const;
  void write_picture(Picture picture, const std::vector<Detection>& found);
  std::string timing_csv() const;
  std::string timing_text() const;

  DetectOutputOptions options_;
  Dataset set_;
  std::vector<Detection> detections_;
  std::vector<Times> times_;
  bool in_video_ = false;
  std::string video_name_, rate_;
  std::unique_ptr<VideoWriter> video_;
  int64_t frames_ = 0, videos_ = 0;
};

}  // namespace frcnn::apps
