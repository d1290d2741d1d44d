#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>

#include "apps/commands.h"
#include "apps/detect_output.h"
#include "apps/load_detector.h"
#include "apps/model_file.h"
#include "apps/picture_list.h"
#include "apps/picture_stream.h"
#include "apps/stop_signal.h"
#include "apps/terminal.h"
#include "kernels/launch/check.h"
#include "model/config.h"
#include "model/detector.h"

namespace frcnn::apps {
namespace {

namespace fs = std::filesystem;

struct DetectArguments {
  std::string model;
  std::vector<std::string> pictures, settings;
  double score = -1;
  int batch = 1;
  bool json = false, recursive = false;
  DetectOutputOptions output;
};

/// Files of one kind that follow each other: pictures, or one video.
struct Segment {
  std::vector<fs::path> files;
  std::vector<std::string> names;
  bool video = false;
};

std::vector<Segment> segments(const std::vector<fs::path>& files) {
  const std::vector<std::string> names = result_names(files);
  std::vector<Segment> list;
  for (size_t i = 0; i < files.size(); ++i) {
    const bool video = has_video_extension(files[i]);
    if (list.empty() || video || list.back().video) list.push_back({{}, {}, video});
    list.back().files.push_back(files[i]);
    list.back().names.push_back(names[i]);
  }
  return list;
}

class DetectRun {
 public:
  DetectRun(const DetectArguments& arguments, const Detector& detector, int64_t files)
      : arguments_(arguments),
        detector_(detector),
        output_(arguments.output, detector.class_names()),
        progress_("detect", files) {}

  void run(const Segment& segment) {
    std::string rate;
    const auto stream =
        segment.video ? stream_video(segment.files[0], segment.names[0], rate)
                      : stream_files(segment.files, segment.names, detector_.config().data.workers);
    if (segment.video) output_.begin_video(segment.names[0], rate);
    std::vector<Picture> batch;
    bool more = true;
    while (more && !stop_requested()) {
      std::optional<Picture> picture = stream->next();
      more = picture.has_value();
      if (picture && !picture->failure.empty()) {
        // One broken picture does not keep the others from being done; the exit code tells.
        if (failures_++ == 0) first_failure_ = picture->failure;
        if (!segment.video) ++done_;
      } else if (picture) {
        batch.push_back(std::move(*picture));
      }
      if (!batch.empty() && (!more || batch.size() == static_cast<size_t>(arguments_.batch))) {
        detect(batch);
        if (!segment.video) done_ += static_cast<int64_t>(batch.size());
        batch.clear();
        show_progress(segment.video, stream->count());
      }
    }
    if (segment.video) {
      output_.end_video();
      ++done_;
    }
  }

  int finish() {
    progress_.update(done_, detail());
    progress_.finish();
    output_.finish();
    if (arguments_.json)
      std::fputs(output_.json().c_str(), stdout);
    else
      std::fputs(output_.summary().c_str(), stdout);
    std::fflush(stdout);
    check(failures_ == 0, "{} of {} pictures could not be read; the first: {}", failures_,
          failures_ + output_.pictures(), first_failure_);
    return stop_requested() ? stop_exit_code() : static_cast<int>(kDone);
  }

 private:
  void detect(std::vector<Picture>& batch) {
    std::vector<PictureView> views;
    for (const Picture& p : batch)
      views.push_back({p.image.rgb.data(), p.image.width, p.image.height});
    const auto begin = std::chrono::steady_clock::now();
    const auto found = detector_.detect(views);
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
    for (size_t n = 0; n < batch.size(); ++n)
      output_.add(std::move(batch[n]), found[n], spent.count() / static_cast<double>(batch.size()));
  }

  std::string detail() const {
    return fmt::format("{} objects  {:.1f} images/s", output_.objects(),
                       static_cast<double>(output_.pictures()) / progress_.seconds());
  }

  void show_progress(bool video, int64_t frames) {
    if (!video) return progress_.update(done_, detail());
    const std::string of = frames > 0 ? fmt::format(" of {}", frames) : "";
    progress_.update(done_, fmt::format("frame {}{}  {}", output_.frames(), of, detail()));
  }

  const DetectArguments& arguments_;
  const Detector& detector_;
  DetectOutput output_;
  Progress progress_;
  int64_t done_ = 0;  // files
  int64_t failures_ = 0;
  std::string first_failure_;
};

int detect(const DetectArguments& arguments) {
  Detector detector = load_detector(model_file(arguments.model), arguments.settings);
  detector.require_head(arguments.model);
  detector.require_rpn(arguments.model);
  if (arguments.score >= 0) detector.set_score_threshold(arguments.score);
  const std::vector<fs::path> files =
      find_pictures(arguments.pictures, arguments.recursive, std::cin);
  catch_stop_signals();
  DetectRun run(arguments, detector, static_cast<int64_t>(files.size()));
  for (const Segment& segment : segments(files))
    if (!stop_requested()) run.run(segment);
  return run.finish();
}

}  // namespace

void add_detect(CLI::App& app, Action& action) {
  auto a = std::make_shared<DetectArguments>();
  CLI::App* command = app.add_subcommand("detect", "find objects in pictures and videos");
  command->add_option("MODEL", a->model, "checkpoint, or folder of a run")->required();
  command
      ->add_option("PICTURES", a->pictures,
                   "pictures, folders, patterns in quotes, videos (read by ffmpeg), or - for a "
                   "list of files on standard input")
      ->required();
  command
      ->add_option("--out", a->output.folder,
                   "folder for the results; without --format pictures or videos with boxes, "
                   "detections.json and (without videos) one text file per picture")
      ->type_name("DIR");
  command
      ->add_option("--format", a->output.formats,
                   "what to write to --out, several with commas: pictures (with boxes; of a video "
                   "a video), json (COCO results), text (class score left top width height), csv, "
                   "voc (a data set in VOC layout: pictures labelled by a model)")
      ->delimiter(',')
      ->check(CLI::IsMember(DetectOutput::formats()));
  command->add_option("--score", a->score, "least score; default: test.score of the model")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--batch", a->batch, "pictures that pass through the network together")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  command->add_flag("--recursive", a->recursive, "folders: the pictures of folders below too");
  command->add_flag("--track-time", a->output.track_time,
                    "print what a picture costs, part by part; with --out also timing.csv");
  command->add_flag("--no-pictures", a->output.no_pictures, "write no pictures to --out");
  command
      ->add_option("--set", a->settings,
                   "change a setting of test., rpn.test. or the pictures' size: "
                   "--set test.nms_iou=0.5")
      ->take_all()
      ->type_name("KEY=VALUE");
  command->add_flag("--json", a->json, "print the detections as COCO results JSON");
  command->footer(
      "Example: frcnn detect runs/first photo.jpg 'holiday/*.png' --out found\n"
      "         find pictures -name '*.jpg' | frcnn detect runs/first - --batch 4 --json\n"
      "         frcnn detect runs/first street.mp4 --out found --track-time");
  command->callback([&action, a] {
    if (a->output.folder.empty() && !a->json && !a->output.track_time)
      throw CLI::ValidationError("detect needs --out DIR, --json or --track-time");
    if (a->output.folder.empty() && !a->output.formats.empty())
      throw CLI::ValidationError("detect --format needs --out DIR");
    action = [a] { return detect(*a); };
  });
}

}  // namespace frcnn::apps
