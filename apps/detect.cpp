#include <glob.h>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/commands.h"
#include "apps/model_file.h"
#include "apps/program_device.h"
#include "apps/stop_signal.h"
#include "apps/terminal.h"
#include "data/detections_io.h"
#include "data/draw.h"
#include "data/files.h"
#include "kernels/launch/check.h"
#include "model/detector.h"

namespace frcnn::apps {
namespace {

namespace fs = std::filesystem;

struct DetectArguments {
  std::string model, out;
  std::vector<std::string> pictures, settings;
  double score = -1;
  bool json = false, no_pictures = false;
};

std::vector<fs::path> pictures_of_folder(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_regular_file() && has_image_extension(entry.path())) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  check(!files.empty(), "{}: holds no pictures (.jpg .jpeg .png .bmp .gif .ppm .pgm)",
        folder.string());
  return files;
}

/// Files, folders and patterns as files, each once, in the order given.
std::vector<fs::path> find_pictures(const std::vector<std::string>& arguments) {
  std::vector<fs::path> files;
  std::set<fs::path> seen;
  const auto add = [&](const fs::path& file) {
    if (seen.insert(file).second) files.push_back(file);
  };
  for (const std::string& argument : arguments) {
    if (fs::is_directory(argument)) {
      for (const fs::path& file : pictures_of_folder(argument)) add(file);
      continue;
    }
    if (fs::exists(argument)) {
      add(argument);
      continue;
    }
    glob_t matches{};
    const int status = glob(argument.c_str(), 0, nullptr, &matches);
    for (size_t i = 0; i < matches.gl_pathc; ++i)
      if (!fs::is_directory(matches.gl_pathv[i])) add(matches.gl_pathv[i]);
    const bool none = status != 0 || matches.gl_pathc == 0;
    globfree(&matches);
    check(!none, "{}: there is no such picture, folder or pattern", argument);
  }
  return files;
}

/// Names of results: the picture's own, with a number where two pictures share it.
std::vector<std::string> result_names(const std::vector<fs::path>& files) {
  std::vector<std::string> names;
  std::set<std::string> used;
  for (const fs::path& file : files) {
    std::string name = file.stem().string();
    for (int i = 2; !used.insert(name).second; ++i)
      name = fmt::format("{}-{}", file.stem().string(), i);
    names.push_back(name);
  }
  return names;
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  check(!error, "{}: cannot make the folder: {}", folder.string(), error.message());
}

void write_picture(Image image, const fs::path& source, const fs::path& target_stem,
                   const std::vector<Detection>& found, const std::vector<std::string>& classes) {
  draw_detections(image, found, classes);
  const std::string extension = source.extension().string();
  fs::path target = target_stem;
  target += extension == ".png" || extension == ".PNG" ? ".png" : ".jpg";
  write_image(image, target);
}

int detect(const DetectArguments& arguments) {
  Detector detector =
      Detector::load(model_file(arguments.model), arguments.settings, program_device().device);
  detector.require_head(arguments.model);
  detector.require_rpn(arguments.model);
  if (arguments.score >= 0) detector.set_score_threshold(arguments.score);
  const std::vector<fs::path> files = find_pictures(arguments.pictures);
  const std::vector<std::string> names = result_names(files);
  const fs::path out = arguments.out;
  Dataset set;
  set.name = "pictures";
  set.class_names = detector.class_names();
  std::vector<Detection> all;
  std::string first_failure;
  int64_t failures = 0;
  catch_stop_signals();
  {
    Progress progress("detect", static_cast<int64_t>(files.size()));
    for (size_t i = 0; i < files.size() && !stop_requested(); ++i) {
      Image image;
      try {
        image = decode_image(files[i]);
      } catch (const Error& failure) {
        // One broken picture does not keep the others from being done; the exit code tells.
        if (failures++ == 0) first_failure = failure.what();
        continue;
      }
      if (!out.empty()) make_folder(out);  // now that there is something to write
      ImageRecord record;
      record.id = names[i];
      record.path = files[i];
      record.width = image.width;
      record.height = image.height;
      const auto index = static_cast<int64_t>(set.images.size());
      set.images.push_back(record);
      std::vector<Detection> found;
      for (const ScoredBox& box : detector.detect(image.rgb.data(), image.width, image.height))
        found.push_back({index, box.label, box.score, box.box});
      all.insert(all.end(), found.begin(), found.end());
      if (!out.empty() && !arguments.no_pictures)
        write_picture(std::move(image), files[i], out / names[i], found, set.class_names);
      progress.update(static_cast<int64_t>(i + 1),
                      fmt::format("{} objects  {:.1f} images/s", all.size(),
                                  static_cast<double>(i + 1) / progress.seconds()));
    }
  }
  if (!out.empty() && !set.images.empty()) {
    write_detections_json(out / "detections.json", set, all);
    write_detections_text(out, set, all);
  }
  if (arguments.json) {
    std::fputs(detections_to_json(set, all).c_str(), stdout);
  } else {
    std::printf("%zu objects in %zu pictures\n", all.size(), set.images.size());
    if (!out.empty())
      std::printf("pictures with boxes, detections.json and one text file per picture: %s\n",
                  out.c_str());
  }
  std::fflush(stdout);
  check(failures == 0, "{} of {} pictures could not be read; the first: {}", failures, files.size(),
        first_failure);
  return stop_requested() ? stop_exit_code() : static_cast<int>(kDone);
}

}  // namespace

void add_detect(CLI::App& app, Action& action) {
  auto a = std::make_shared<DetectArguments>();
  CLI::App* command = app.add_subcommand("detect", "find objects in pictures");
  command->add_option("MODEL", a->model, "checkpoint, or folder of a run")->required();
  command->add_option("PICTURES", a->pictures, "pictures, folders or patterns in quotes")
      ->required();
  command
      ->add_option("--out", a->out,
                   "folder for pictures with boxes, detections.json (COCO results) and one text "
                   "file per picture")
      ->type_name("DIR");
  command->add_option("--score", a->score, "least score; default: test.score of the model")
      ->check(CLI::Range(0.0, 1.0));
  command->add_flag("--no-pictures", a->no_pictures, "write no pictures to --out");
  command
      ->add_option("--set", a->settings,
                   "change a setting of test., rpn.test. or the pictures' size: "
                   "--set test.nms_iou=0.5")
      ->take_all()
      ->type_name("KEY=VALUE");
  command->add_flag("--json", a->json, "print the detections as COCO results JSON");
  command->footer("Example: frcnn detect runs/first photo.jpg 'holiday/*.png' --out found");
  command->callback([&action, a] {
    if (a->out.empty() && !a->json) throw CLI::ValidationError("detect needs --out DIR or --json");
    action = [a] { return detect(*a); };
  });
}

}  // namespace frcnn::apps
