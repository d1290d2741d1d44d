#pragma once

namespace frcnn::apps {

/// From now on the first SIGINT or SIGTERM only sets a flag, so that work can end in good order; a
/// second one ends the program at once.
void catch_stop_signals();
/// True after a signal came.
bool stop_requested();
/// 128 + number of the signal that came, the exit code of a run ended by it.
int stop_exit_code();

}  // namespace frcnn::apps
