#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>

#include "apps/commands.h"
#include "apps/report.h"

namespace frcnn::apps {

void add_report(CLI::App& app, Action& action) {
  auto run = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("report", "write a run's report.html anew");
  command->add_option("RUN", *run, "folder of a run")->required();
  command->footer("Example: frcnn report runs/first");
  command->callback([&action, run] {
    action = [run] {
      const RunFolder folder(*run);
      write_report(folder);
      std::printf("%s\n", folder.report().c_str());
      return static_cast<int>(kDone);
    };
  });
}

}  // namespace frcnn::apps
