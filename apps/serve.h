#pragma once

#include <memory>
#include <string>

#include "apps/run_folder.h"

namespace frcnn::apps {

/// A port from the command line: 0 (any free one) to 65535, "": 8642. Throws UsageError.
int port_of(const std::string& text);

/// Shows a run in a browser while it trains: the report at "/", made anew for each request, with a
/// script that fetches it again when the run has got further. Answers this machine alone
/// (127.0.0.1) and requests that name it so. Works in a thread of its own until destroyed.
class ReportServer {
 public:
  /// Port 0: any free one. Throws Error when the port is taken.
  ReportServer(RunFolder folder, int port);
  ~ReportServer();
  ReportServer(const ReportServer&) = delete;
  ReportServer& operator=(const ReportServer&) = delete;

  /// "http://127.0.0.1:8642/"
  std::string address() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace frcnn::apps
