#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <thread>

#include "apps/commands.h"
#include "apps/report.h"
#include "apps/serve.h"
#include "apps/stop_signal.h"
#include "apps/train_data.h"

namespace frcnn::apps {
namespace {

int serve_until_stopped(const RunFolder& folder, const std::string& port) {
  const ReportServer server(folder, port_of(port));
  std::printf("%s\n", server.address().c_str());
  std::fflush(stdout);
  catch_stop_signals();
  while (!stop_requested()) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  return kDone;
}

}  // namespace

void add_report(CLI::App& app, Action& action) {
  auto run = std::make_shared<std::string>();
  auto curve = std::make_shared<std::string>();
  auto serve = std::make_shared<std::optional<std::string>>();
  CLI::App* command = app.add_subcommand("report", "write a run's report.html anew");
  command->add_option("RUN", *run, "folder of a run")->required();
  command
      ->add_option("--curve", *curve,
                   "write the losses as an SVG drawing, too (also of a run in progress)")
      ->type_name("FILE.svg");
  command
      ->add_option("--serve", *serve,
                   "show it in a browser until Ctrl-C, also of a run in progress, on this machine "
                   "only: http://127.0.0.1:PORT/")
      ->expected(0, 1)
      ->type_name("PORT");
  command->footer("Example: frcnn report runs/first --curve losses.svg");
  command->callback([&action, run, curve, serve] {
    action = [run, curve, serve] {
      const RunFolder folder(*run);
      if (!curve->empty()) write_loss_curve(folder, *curve);
      if (const std::string reason = complete_data_card(folder); !reason.empty())
        std::fprintf(stderr, "frcnn: warning: the report tells nothing about the data: %s\n",
                     reason.c_str());
      write_report(folder);
      if (*serve) return serve_until_stopped(folder, **serve);
      std::printf("%s\n", folder.report().c_str());
      return static_cast<int>(kDone);
    };
  });
}

}  // namespace frcnn::apps
