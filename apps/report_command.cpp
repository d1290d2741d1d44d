#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>

#include "apps/commands.h"
#include "apps/report.h"

namespace frcnn::apps {

void add_report(CLI::App& app, Action& action) {
  auto run = std::make_shared<std::string>();
  auto curve = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("report", "write a run's report.html anew");
  command->add_option("RUN", *run, "folder of a run")->required();
  command
      ->add_option("--curve", *curve,
                   "write the losses as an SVG drawing, too (also of a run in progress)")
      ->type_name("FILE.svg");
  command->footer("Example: frcnn report runs/first --curve losses.svg");
  command->callback([&action, run, curve] {
    action = [run, curve] {
      const RunFolder folder(*run);
      if (!curve->empty()) write_loss_curve(folder, *curve);
      write_report(folder);
      std::printf("%s\n", folder.report().c_str());
      return static_cast<int>(kDone);
    };
  });
}

}  // namespace frcnn::apps
