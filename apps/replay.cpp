#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>

#include "apps/commands.h"
#include "kernels/launch/check.h"
#include "model/nan_capsule.h"

namespace frcnn::apps {
namespace {

int replay_file(const std::string& file) {
  const NanCapsule capsule = load_capsule(file);
  std::printf("capsule    %s\nnoticed    %s\non         %s\n", file.c_str(),
              capsule.message.c_str(), capsule.device.c_str());
  for (const CapsulePass& pass : capsule.passes) {
    std::string images;
    for (size_t n = 0; n < pass.ids.size(); ++n)
      images += fmt::format("{}{} ({}, {} x {} pixels, {} objects)", n > 0 ? ", " : "", pass.ids[n],
                            pass.files[n], pass.input.sizes[n].height, pass.input.sizes[n].width,
                            pass.truth[n].boxes.size());
    std::printf("step %-5ld %s\n", static_cast<long>(pass.step), images.c_str());
  }
  const auto found = replay(capsule, [](const std::string& what) {
    std::printf("repeating  %s\n", what.c_str());
    std::fflush(stdout);
  });
  if (!found) {
    std::printf("finite     the repetition on the CPU found nothing that is not finite%s\n",
                capsule.device.starts_with("cpu")
                    ? ""
                    : ": the device's arithmetic differs, or the step is older than the passes "
                      "that were kept");
    return kDone;
  }
  std::printf("not finite %s\n", describe(capsule, *found).c_str());
  return kFailed;
}

}  // namespace

void add_replay(CLI::App& app, Action& action) {
  auto file = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "replay", "repeat a training step that was not finite, looking at every tensor");
  command->add_option("FILE", *file, "RUN/nan-step-N.capsule.h5")->required();
  command->footer(
      "Exit code 1 when something is not finite again, 0 when all is finite.\n"
      "Example: frcnn replay runs/first/nan-step-12.capsule.h5");
  command->callback([&action, file] { action = [file] { return replay_file(*file); }; });
}

}  // namespace frcnn::apps
