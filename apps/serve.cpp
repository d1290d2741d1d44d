#include "apps/serve.h"

#include <httplib.h>

#include <charconv>
#include <chrono>
#include <thread>

#include "apps/report.h"
#include "data/files.h"
#include "kernels/launch/check.h"

namespace frcnn::apps {
namespace {

/// Fetches the page again when the run has got further, and keeps place and opened parts.
constexpr const char* kLiveScript = R"js(<script>
(() => {
  let seen = null;
  setInterval(async () => {
    try {
      const state = await (await fetch('/state', {cache: 'no-store'})).text();
      if (seen !== null && state !== seen) {
        const page = new DOMParser().parseFromString(
            await (await fetch('/', {cache: 'no-store'})).text(), 'text/html');
        const open = [...document.querySelectorAll('details')].map(d => d.open);
        document.querySelector('main').replaceWith(page.querySelector('main'));
        const script = document.createElement('script');
        script.textContent = page.querySelector('script').textContent;
        document.body.append(script);
        document.querySelectorAll('details').forEach((d, i) => { d.open = open[i] ?? d.open; });
      }
      seen = state;
      document.title = document.title.replace(/^\(ended\) /, '');
    } catch (error) {
      if (!document.title.startsWith('(ended)')) document.title = '(ended) ' + document.title;
    }
  }, 2000);
})();
</script>
)js";

/// Changes whenever the run has written something that the report shows.
std::string state_of(const RunFolder& folder) {
  std::string text;
  for (const auto& file : {folder.log(), folder.metrics(), folder.sessions(), folder.config()}) {
    std::error_code missing;
    const auto time = std::filesystem::last_write_time(file, missing);
    text += missing ? "-" : fmt::format("{} ", time.time_since_epoch().count());
  }
  return text;
}

std::string live_page(const RunFolder& folder) {
  std::string page = report_html(folder);
  const size_t end = page.rfind("</body>");
  return page.insert(end == std::string::npos ? page.size() : end, kLiveScript);
}

}  // namespace

int port_of(const std::string& text) {
  if (text.empty()) return 8642;
  int port = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port < 0 || port > 65535)
    throw UsageError(fmt::format("--serve {}: expected a port, 0 to 65535", text));
  return port;
}

struct ReportServer::State {
  explicit State(RunFolder run) : folder(std::move(run)) {}
  RunFolder folder;
  httplib::Server server;
  int port = 0;
  std::thread thread;

  void file(const char* path, const std::filesystem::path& file, const char* type) {
    server.Get(path, [file, type](const httplib::Request&, httplib::Response& response) {
      response.set_content(std::filesystem::exists(file) ? read_text(file) : "", type);
    });
  }

  void routes() {
    server.new_task_queue = [] { return new httplib::ThreadPool(2); };
    // A page of another site must not reach the run under a name that it has pointed here.
    server.set_pre_routing_handler([this](const httplib::Request& request,
                                          httplib::Response& response) {
      const std::string host = request.get_header_value("Host");
      if (host == fmt::format("127.0.0.1:{}", port) || host == fmt::format("localhost:{}", port))
        return httplib::Server::HandlerResponse::Unhandled;
      response.status = 403;
      response.set_content("frcnn answers requests to 127.0.0.1 and localhost only\n",
                           "text/plain");
      return httplib::Server::HandlerResponse::Handled;
    });
    server.set_exception_handler([](const httplib::Request&, httplib::Response& response,
                                    const std::exception_ptr& pointer) {
      response.status = 503;
      try {
        std::rethrow_exception(pointer);
      } catch (const std::exception& error) {
        response.set_content(std::string(error.what()) + "\n", "text/plain");
      }
    });
    server.Get("/", [this](const httplib::Request&, httplib::Response& response) {
      response.set_header("Cache-Control", "no-store");
      response.set_content(live_page(folder), "text/html; charset=utf-8");
    });
    server.Get("/state", [this](const httplib::Request&, httplib::Response& response) {
      response.set_header("Cache-Control", "no-store");
      response.set_content(state_of(folder), "text/plain");
    });
    file("/log.csv", folder.log(), "text/csv");
    file("/log.jsonl", folder.json_lines(), "application/x-ndjson");
    file("/metrics.json", folder.metrics(), "application/json");
    file("/validation.csv", folder.validations(), "text/csv");
  }
};

ReportServer::ReportServer(RunFolder folder, int port)
    : state_(std::make_unique<State>(std::move(folder))) {
  state_->routes();
  // Two of them on one port, as the library's default allows, would share the requests.
  state_->server.set_socket_options([](socket_t) {});
  if (port == 0) {
    state_->port = state_->server.bind_to_any_port("127.0.0.1");
    check(state_->port > 0, "--serve: no port of 127.0.0.1 is free");
  } else {
    check(state_->server.bind_to_port("127.0.0.1", port),
          "--serve: port {} of 127.0.0.1 is taken; give another (--serve {}, or 0 for any)", port,
          port + 1);
    state_->port = port;
  }
  state_->thread = std::thread([server = &state_->server] { server->listen_after_bind(); });
  // stop() reaches a server that has begun.
  while (!state_->server.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

ReportServer::~ReportServer() {
  state_->server.stop();
  state_->thread.join();
}

std::string ReportServer::address() const {
  return fmt::format("http://127.0.0.1:{}/", state_->port);
}

}  // namespace frcnn::apps
