#include <CLI/CLI.hpp>

#include <csignal>
#include <cstdio>
#include <string>

#include "apps/commands.h"
#include "apps/program_device.h"
#include "apps/terminal.h"
#include "apps/version.h"
#include "engine/tuning.h"
#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"

namespace frcnn::apps {
namespace {

/// Messages end up in one line whatever they quote.
void print_error(std::string message) {
  for (char& c : message)
    if (c == '\n' || c == '\r') c = ' ';
  std::fprintf(stderr, "frcnn: error: %s\n", message.c_str());
}

void print_warning(const std::string& text) {
  std::fprintf(stderr, "frcnn: warning: %s\n", text.c_str());
}

struct Globals {
  int threads = 0;
  std::string memory_limit, device = "auto", math, cpu_math = "f32", tuning;

  void apply() const {
    if (threads > 0) kernels::set_num_threads(threads);
    request_gpu_math(math);
    request_cpu_math(cpu_math);
    set_tuning({.measure = tuning != "off",
                .cpu = !tuning.empty() && tuning != "off",
                .file = tuning == "off" ? "" : tuning,
                .program = program_version(),
                .warn = print_warning,
                .stopwatch = nullptr});
    std::vector<std::string> inherited;
    if (!math.empty()) inherited.insert(inherited.end(), {"--gpu-math", math});
    if (cpu_math != "f32") inherited.insert(inherited.end(), {"--cpu-math", cpu_math});
    if (!tuning.empty()) inherited.insert(inherited.end(), {"--tuning", tuning});
    if (!memory_limit.empty()) inherited.insert(inherited.end(), {"--mem-limit", memory_limit});
    set_inherited_arguments(std::move(inherited));
    request_device(device, memory_limit.empty() ? 0 : parse_bytes(memory_limit));
  }
};

int run(CLI::App& app, const Globals& globals, const Action& action, int argc,
        const char* const* argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForAllHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForVersion& version) {
    return app.exit(version);
  } catch (const CLI::ParseError& error) {
    const auto chosen = app.get_subcommands();
    print_error(fmt::format("{} (see `frcnn{} --help`)", error.what(),
                            chosen.empty() ? "" : " " + chosen.front()->get_name()));
    return kUsage;
  }
  globals.apply();
  if (action) return action();
  std::fputs(app.help().c_str(), stdout);
  return kDone;
}

}  // namespace

int run_program(int argc, const char* const* argv) {
  // Writing past a quota is an error like a full disk, not a reason to be killed.
  std::signal(SIGXFSZ, SIG_IGN);
  CLI::App app(
      "frcnn trains, evaluates and runs Faster R-CNN object detectors.\n"
      "Example: frcnn train configs/quickstart.toml --data DIR --out RUN");
  app.name("frcnn");
  app.set_version_flag(
      "--version", [] { return version_text(); }, "print versions and exit");
  Globals globals;
  app.add_option("--threads", globals.threads, "threads for computing; default: all cores")
      ->check(CLI::Range(1, 4096))
      ->type_name("N");
  app.add_option("--device", globals.device,
                 "auto, cpu, cuda, cuda:1, ... or emulated; auto: the first GPU, else the CPU")
      ->type_name("DEVICE")
      ->capture_default_str();
  app.add_option(
         "--gpu-math", globals.math,
         "factors of convolutions and dense layers on a GPU: f32, or tf32 or bf16 on tensor "
         "cores; default: f32, in training what train.precision says")
      ->type_name("TYPE");
  app.add_option("--cpu-math", globals.cpu_math,
                 "convolutions and dense layers of a detector on the CPU: f32, or bf16 where the "
                 "processor multiplies bfloat16 numbers (docs/quantization.md)")
      ->type_name("TYPE")
      ->capture_default_str();
  app.add_option(
         "--tuning", globals.tuning,
         "file that remembers which kernels were measured to be the fastest, or off: fixed "
         "choices; default: a file for each GPU in ~/.cache/frcnn, fixed choices on the CPU")
      ->type_name("FILE|off")
      ->envname("FRCNN_TUNING");
  app.add_option("--mem-limit", globals.memory_limit,
                 "most memory that tensors may take, e.g. 4GiB or 500MB; default: no limit")
      ->type_name("SIZE");
  app.fallthrough();  // global options may stand behind the command
  app.require_subcommand(0, 1);
  Action action;
  for (const auto& add :
       {add_train,   add_eval,   add_propose, add_score,    add_detect, add_show,    add_why,
        add_inspect, add_doctor, add_convert, add_backbone, add_sweep,  add_synth,   add_report,
        add_replay,  add_bench,  add_op,      add_import,   add_export, add_quantize})
    add(app, action);
  app.footer("Every command has --help. Exit codes: 0 done, 1 failed, 2 wrong usage.");
  try {
    return run(app, globals, action, argc, argv);
  } catch (const UsageError& error) {
    print_error(error.what());
    return kUsage;
  } catch (const std::bad_alloc&) {
    print_error("out of memory");
  } catch (const std::exception& error) {
    print_error(error.what());
  }
  return kFailed;
}

}  // namespace frcnn::apps
