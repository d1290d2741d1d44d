#include "apps/detect_output.h"

#include <algorithm>
#include <chrono>

#include "apps/terminal.h"
#include "apps/video.h"
#include "data/draw.h"
#include "data/files.h"
#include "data/writers.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

namespace fs = std::filesystem;

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  check(!error, "{}: cannot make the folder: {}", folder.string(), error.message());
}

double quantile(std::vector<double> values, double q) {
  const auto at = static_cast<size_t>(q * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return values[at];
}

}  // namespace

DetectOutput::DetectOutput(const DetectOutputOptions& options, std::vector<std::string> class_names)
    : options_(options) {
  set_.name = "pictures";
  set_.class_names = std::move(class_names);
  std::error_code error;
  if (writes("voc"))  // told before the work, not after it
    check(!fs::exists(voc_folder(), error) || fs::is_empty(voc_folder(), error),
          "{}: exists; annotations of a model don't take the place of others, give another --out",
          voc_folder().string());
}

fs::path DetectOutput::voc_folder() const {
  return fs::path(options_.folder) / "voc";
}

void DetectOutput::write_voc() const {
  Dataset labelled = set_;
  for (const Detection& d : detections_) {
    Object object;
    object.box = d.box;
    object.label = d.label;
    labelled.images[static_cast<size_t>(d.image)].objects.push_back(object);
  }
  write_dataset(voc_folder(), DatasetFormat::voc, {{"all", labelled}}, PictureMode::link);
}

DetectOutput::~DetectOutput() = default;

std::vector<std::string> DetectOutput::formats() {
  return {"pictures", "json", "text", "csv", "voc"};
}

bool DetectOutput::writes(const std::string& format) const {
  if (options_.folder.empty() || (format == "pictures" && options_.no_pictures)) return false;
  const auto& asked = options_.formats;
  if (!asked.empty()) return std::find(asked.begin(), asked.end(), format) != asked.end();
  // A text file per frame is only for those who ask for it.
  return format == "pictures" || format == "json" || (format == "text" && videos_ == 0);
}

void DetectOutput::add(Picture picture, const std::vector<ScoredBox>& found,
                       double detect_seconds) {
  if (!options_.folder.empty()) make_folder(options_.folder);  // now that there is something
  ImageRecord record;
  record.id = picture.name;
  record.path = picture.file;
  record.width = picture.image.width;
  record.height = picture.image.height;
  const auto index = static_cast<int64_t>(set_.images.size());
  set_.images.push_back(std::move(record));
  std::vector<Detection> detections;
  for (const ScoredBox& box : found) detections.push_back({index, box.label, box.score, box.box});
  detections_.insert(detections_.end(), detections.begin(), detections.end());
  Times times{picture.decode_seconds, detect_seconds, 0, found.size()};
  frames_ += in_video_ ? 1 : 0;
  const auto begin = std::chrono::steady_clock::now();
  if (writes("pictures")) write_picture(std::move(picture), detections);
  times.write = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  times_.push_back(times);
}

void DetectOutput::write_picture(Picture picture, const std::vector<Detection>& found) {
  draw_detections(picture.image, found, set_.class_names);
  const fs::path folder = options_.folder;
  if (in_video_) {
    if (!video_)
      video_ = std::make_unique<VideoWriter>(folder / (video_name_ + ".mp4"), picture.image.width,
                                             picture.image.height, rate_);
    video_->write(picture.image);
    return;
  }
  const std::string extension = picture.file.extension().string();
  const bool png = extension == ".png" || extension == ".PNG";
  write_image(picture.image, folder / (picture.name + (png ? ".png" : ".jpg")));
}

void DetectOutput::begin_video(const std::string& name, const std::string& rate) {
  check(!writes("voc"),
        "--format voc: annotations need picture files, which frames of a video are not");
  in_video_ = true;
  video_name_ = name;
  rate_ = rate;
  frames_ = 0;
  ++videos_;
}

void DetectOutput::end_video() {
  if (video_) video_->finish();
  video_.reset();
  in_video_ = false;
}

void DetectOutput::finish() {
  if (options_.folder.empty() || set_.images.empty()) return;
  const fs::path folder = options_.folder;
  if (writes("json")) write_detections_json(folder / "detections.json", set_, detections_);
  if (writes("csv")) write_detections_csv(folder / "detections.csv", set_, detections_);
  if (writes("text")) write_detections_text(folder, set_, detections_);
  if (writes("voc")) write_voc();
  if (options_.track_time) write_file(folder / "timing.csv", std::string_view(timing_csv()));
}

std::string DetectOutput::json() const {
  return detections_to_json(set_, detections_);
}

std::string DetectOutput::summary() const {
  std::string text = fmt::format("{} objects in {} {}\n", detections_.size(), set_.images.size(),
                                 videos_ > 0 ? "pictures and frames" : "pictures");
  if (!options_.folder.empty() && !set_.images.empty()) {
    std::string what;
    const auto add = [&](const char* format, const std::string& name) {
      if (writes(format)) what += (what.empty() ? "" : ", ") + name;
    };
    add("pictures", videos_ > 0 ? "pictures and videos with boxes" : "pictures with boxes");
    add("json", "detections.json");
    add("csv", "detections.csv");
    add("text", "one text file per picture");
    add("voc", "voc/ with annotations");
    text += fmt::format("{}: {}\n", what, options_.folder);
  }
  if (options_.track_time && !times_.empty()) text += timing_text();
  return text;
}

std::string DetectOutput::timing_csv() const {
  std::string text = "image,width,height,objects,decode_ms,detect_ms,write_ms\n";
  for (size_t i = 0; i < times_.size(); ++i)
    text += fmt::format("{},{},{},{},{:.3f},{:.3f},{:.3f}\n", csv_field(set_.images[i].id),
                        set_.images[i].width, set_.images[i].height, times_[i].objects,
                        1e3 * times_[i].decode, 1e3 * times_[i].detect, 1e3 * times_[i].write);
  return text;
}

std::string DetectOutput::timing_text() const {
  std::string text = "milliseconds per picture    median       95 %       most\n";
  for (const auto& [name, part] :
       {std::pair("decode (threads, ahead)", &Times::decode), std::pair("detect", &Times::detect),
        std::pair("draw and write pictures", &Times::write)}) {
    std::vector<double> values;
    for (const Times& t : times_) values.push_back(1e3 * t.*part);
    text += padded(name, 24);
    for (const double q : {0.5, 0.95, 1.0})
      text += padded(fmt::format("{:.2f}", quantile(values, q)), -11);
    text += "\n";
  }
  return text;
}

}  // namespace frcnn::apps
