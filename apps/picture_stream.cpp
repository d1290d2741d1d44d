#include "apps/picture_stream.h"

#include <chrono>
#include <deque>
#include <future>

#include "apps/video.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

namespace fs = std::filesystem;

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

Picture decode(const fs::path& file, const std::string& name) {
  const auto begin = std::chrono::steady_clock::now();
  Picture picture;
  picture.file = file;
  picture.name = name;
  try {
    picture.image = decode_image(file);
  } catch (const Error& error) {
    picture.failure = error.what();
  }
  picture.decode_seconds = seconds_since(begin);
  return picture;
}

class FileStream final : public PictureStream {
 public:
  FileStream(std::vector<fs::path> files, std::vector<std::string> names, int threads)
      : files_(std::move(files)), names_(std::move(names)), threads_(threads) {}

  std::optional<Picture> next() override {
    // One more than the threads: a picture that is done waits while the others are in work.
    for (; started_ < files_.size() && ahead_.size() <= static_cast<size_t>(threads_); ++started_)
      ahead_.push_back(std::async(std::launch::async, decode, std::cref(files_[started_]),
                                  std::cref(names_[started_])));
    if (ahead_.empty()) return std::nullopt;
    Picture picture = ahead_.front().get();
    ahead_.pop_front();
    return picture;
  }

  int64_t count() const override { return static_cast<int64_t>(files_.size()); }

 private:
  std::vector<fs::path> files_;
  std::vector<std::string> names_;
  int threads_;
  size_t started_ = 0;
  std::deque<std::future<Picture>> ahead_;  // last: its threads read the lists above
};

/// ffmpeg decodes in a process of its own, ahead as far as the pipe holds.
class VideoStream final : public PictureStream {
 public:
  VideoStream(const fs::path& file, std::string name)
      : reader_(file), file_(file), name_(std::move(name)) {}

  std::optional<Picture> next() override {
    const auto begin = std::chrono::steady_clock::now();
    std::optional<Image> frame = reader_.next();
    if (!frame) return std::nullopt;
    Picture picture;
    picture.name = fmt::format("{}-{:06}", name_, ++number_);
    picture.file = file_;
    picture.image = std::move(*frame);
    picture.decode_seconds = seconds_since(begin);
    return picture;
  }

  int64_t count() const override { return reader_.frames(); }
  const std::string& rate() const { return reader_.rate(); }

 private:
  VideoReader reader_;
  fs::path file_;
  std::string name_;
  int64_t number_ = 0;
};

}  // namespace

std::unique_ptr<PictureStream> stream_files(std::vector<fs::path> files,
                                            std::vector<std::string> names, int threads) {
  return std::make_unique<FileStream>(std::move(files), std::move(names), threads);
}

std::unique_ptr<PictureStream> stream_video(const fs::path& file, const std::string& name,
                                            std::string& rate) {
  auto stream = std::make_unique<VideoStream>(file, name);
  rate = stream->rate();
  return stream;
}

}  // namespace frcnn::apps
