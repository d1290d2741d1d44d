#pragma once

#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace frcnn::apps {

/// Exit codes of `frcnn`. A run ended by Ctrl-C or SIGTERM exits with 128 + the signal's number.
enum ExitCode : int { kDone = 0, kFailed = 1, kUsage = 2 };

/// What the chosen subcommand left to do once the whole command line has been read; the result is
/// the exit code.
using Action = std::function<int()>;

// Each adds one subcommand with its options and, when it is chosen, sets `action`.
void add_train(CLI::App& app, Action& action);
void add_sweep(CLI::App& app, Action& action);
void add_eval(CLI::App& app, Action& action);
void add_propose(CLI::App& app, Action& action);
void add_score(CLI::App& app, Action& action);
void add_detect(CLI::App& app, Action& action);
void add_show(CLI::App& app, Action& action);
void add_why(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_doctor(CLI::App& app, Action& action);
void add_convert(CLI::App& app, Action& action);
void add_backbone(CLI::App& app, Action& action);
void add_synth(CLI::App& app, Action& action);
void add_report(CLI::App& app, Action& action);
void add_replay(CLI::App& app, Action& action);
void add_bench(CLI::App& app, Action& action);
void add_import(CLI::App& app, Action& action);
void add_export(CLI::App& app, Action& action);
void add_quantize(CLI::App& app, Action& action);
void add_op(CLI::App& app, Action& action);

/// `frcnn <arguments>`: reads the command line, runs the command, prints errors as one line
/// "frcnn: error: ..." to stderr. Returns the exit code.
int run_program(int argc, const char* const* argv);

}  // namespace frcnn::apps
