#include "apps/video.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <vector>

#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

namespace fs = std::filesystem;

std::string program(const std::string& name, const fs::path& file) {
  const fs::path found = find_program(name);
  check(!found.empty(),
        "{}: videos need the program {}, which is not on PATH; install ffmpeg (Debian, Ubuntu: "
        "apt-get install ffmpeg)",
        file.string(), name);
  return found.string();
}

/// A file in memory that takes what a program prints to stderr.
int memory_file() {
  const int file = memfd_create("frcnn-ffmpeg", MFD_CLOEXEC);
  check(file >= 0, "a file in memory cannot be made: {}", std::strerror(errno));
  return file;
}

/// The last line of what was printed, or "no message".
std::string last_words(int file) {
  std::string text;
  std::array<char, 4096> buffer{};
  off_t at = 0;
  for (ssize_t n = 0; (n = pread(file, buffer.data(), buffer.size(), at)) > 0; at += n)
    text.append(buffer.data(), static_cast<size_t>(n));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text.empty() ? "no message" : text.substr(text.find_last_of('\n') + 1);
}

/// Reads `size` bytes; fewer only at the end of the stream.
size_t read_fully(int file, void* to, size_t size) {
  size_t done = 0;
  while (done < size) {
    const ssize_t n = read(file, static_cast<char*>(to) + done, size - done);
    if (n == 0) break;
    if (n < 0 && errno == EINTR) continue;
    check(n > 0, "reading from ffmpeg: {}", std::strerror(errno));
    done += static_cast<size_t>(n);
  }
  return done;
}

/// Starts a program whose standard output is read from `pipe`.
ChildProcess start_with_output(const std::vector<std::string>& arguments, Descriptor& pipe,
                               int errors) {
  std::array<int, 2> ends{};
  check(pipe2(ends.data(), O_CLOEXEC) == 0, "a pipe cannot be made: {}", std::strerror(errno));
  pipe.reset(ends[0]);
  const Descriptor out(ends[1]);
  return {arguments, ChildStreams{-1, out.get(), errors}};
}

std::string output_of(const std::vector<std::string>& arguments, int errors) {
  Descriptor pipe;
  ChildProcess child = start_with_output(arguments, pipe, errors);
  std::string text;
  std::array<char, 4096> buffer{};
  while (const size_t n = read_fully(pipe.get(), buffer.data(), buffer.size()))
    text.append(buffer.data(), n);
  const ProcessEnd end = child.wait();
  return end.exit_code == 0 && end.signal == 0 ? text : "";
}

/// The next number of a PPM header.
int header_number(int file) {
  int number = 0;
  for (char c = 0; read_fully(file, &c, 1) == 1;) {
    if (c >= '0' && c <= '9')
      number = number * 10 + (c - '0');
    else if (number > 0)
      return number;  // the one space after it is read
    check(number < 100'000, "ffmpeg gave a frame of more than 100000 pixels a side");
  }
  return 0;
}

}  // namespace

VideoReader::VideoReader(const fs::path& file) : file_(file), errors_(memory_file()) {
  const std::string input = "file:" + file.string();
  const std::string facts =
      output_of({program("ffprobe", file), "-v", "error", "-select_streams", "v:0", "-show_entries",
                 "stream=avg_frame_rate,r_frame_rate,nb_frames", "-of", "json", input},
                errors_.get());
  const auto json = nlohmann::json::parse(facts, nullptr, false);
  check(json.is_object() && json.contains("streams") && !json["streams"].empty(),
        "{}: holds no video that ffmpeg can read: {}", file.string(), last_words(errors_.get()));
  const auto& stream = json["streams"][0];
  rate_ = stream.value("avg_frame_rate", "0/0");
  if (rate_.starts_with("0/")) rate_ = stream.value("r_frame_rate", "25/1");
  if (rate_.starts_with("0/")) rate_ = "25/1";
  frames_ = std::atoll(stream.value("nb_frames", "0").c_str());

  // PPM frames say their size themselves, after the rotation that ffmpeg applies.
  ffmpeg_.emplace(
      start_with_output({program("ffmpeg", file), "-nostdin", "-v", "error", "-i", input, "-map",
                         "0:v:0", "-f", "image2pipe", "-c:v", "ppm", "-"},
                        pipe_, errors_.get()));
}

std::optional<Image> VideoReader::next() {
  std::array<char, 2> magic{};
  if (read_fully(pipe_.get(), magic.data(), magic.size()) == 0) {
    check(ffmpeg_->wait().exit_code == 0, "{}: ffmpeg failed: {}", file_.string(),
          last_words(errors_.get()));
    return std::nullopt;
  }
  const int width = header_number(pipe_.get()), height = header_number(pipe_.get());
  check(magic[0] == 'P' && magic[1] == '6' && width > 0 && height > 0 &&
            header_number(pipe_.get()) == 255,
        "{}: ffmpeg gave no PPM frame: {}", file_.string(), last_words(errors_.get()));
  Image frame(width, height);
  check(read_fully(pipe_.get(), frame.rgb.data(), frame.rgb.size()) == frame.rgb.size(),
        "{}: ffmpeg ended in the middle of a frame: {}", file_.string(), last_words(errors_.get()));
  return frame;
}

VideoWriter::VideoWriter(const fs::path& file, int width, int height, const std::string& rate)
    : file_(file), temporary_(file), width_(width), height_(height), errors_(memory_file()) {
  temporary_.replace_filename(".part-" + file.filename().string());
  std::array<int, 2> ends{};
  // A socket, not a pipe: writing to an ffmpeg that has ended is then an error, not a signal.
  check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0,
        "a socket cannot be made: {}", std::strerror(errno));
  socket_.reset(ends[0]);
  const Descriptor end(ends[1]);
  // Most decoders want even sides: an odd one gets a black row or column.
  ffmpeg_.emplace(
      std::vector<std::string>{program("ffmpeg", file), "-v", "error", "-y", "-f", "rawvideo",
                               "-pix_fmt", "rgb24", "-s", fmt::format("{}x{}", width, height), "-r",
                               rate, "-i", "-", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt",
                               "yuv420p", "file:" + temporary_.string()},
      ChildStreams{end.get(), -1, errors_.get()});
}

VideoWriter::~VideoWriter() {
  if (temporary_.empty()) return;
  ffmpeg_.reset();  // kills it
  std::error_code ignored;
  fs::remove(temporary_, ignored);
}

void VideoWriter::write(const Image& frame) {
  check(frame.width == width_ && frame.height == height_,
        "{}: a video has frames of one size, {}x{}; got {}x{}", file_.string(), width_, height_,
        frame.width, frame.height);
  for (size_t done = 0; done < frame.rgb.size();) {
    const ssize_t n =
        send(socket_.get(), frame.rgb.data() + done, frame.rgb.size() - done, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    check(n > 0, "{}: cannot be written, ffmpeg says: {}", file_.string(),
          last_words(errors_.get()));
    done += static_cast<size_t>(n);
  }
}

void VideoWriter::finish() {
  socket_.reset();
  check(ffmpeg_->wait().exit_code == 0, "{}: cannot be written, ffmpeg says: {}", file_.string(),
        last_words(errors_.get()));
  fs::rename(temporary_, file_);
  temporary_.clear();
}

}  // namespace frcnn::apps
