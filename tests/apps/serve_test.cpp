// The report of a run in progress, over HTTP on 127.0.0.1.
#include "apps/serve.h"

#include <httplib.h>

#include "data/files.h"
#include "kernels/launch/check.h"
#include "model/options.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::apps;

namespace {

int port_in(const std::string& address) {
  return std::stoi(address.substr(address.rfind(':') + 1));
}

}  // namespace

TEST_CASE("a run in progress is shown on 127.0.0.1 and to nobody else") {
  const test::TempDir dir;
  const RunFolder folder(dir.path());
  write_file(folder.config(), std::string_view(to_toml(Config())));
  write_file(folder.log(), std::string_view("step,epoch,loss\n1,0.5,2.25\n"));
  const ReportServer server(folder, 0);
  const int port = port_in(server.address());
  httplib::Client client("127.0.0.1", port);

  const auto page = client.Get("/");
  REQUIRE(page);
  CHECK(page->status == 200);
  CHECK(page->body.find("2.250") != std::string::npos);
  CHECK(page->body.find("/state") != std::string::npos);  // the script that looks for news
  CHECK(page->get_header_value("Content-Type").starts_with("text/html"));
  CHECK(client.Get("/log.csv")->body == read_text(folder.log()));
  CHECK(client.Get("/log.jsonl")->body.empty());
  CHECK(client.Get("/../config.toml")->status == 404);
  CHECK(client.Get("/config.toml")->status == 404);

  // The state changes when, and only when, the run has written something.
  const std::string before = client.Get("/state")->body;
  CHECK(client.Get("/state")->body == before);
  std::filesystem::last_write_time(
      folder.log(), std::filesystem::last_write_time(folder.log()) + std::chrono::seconds(1));
  CHECK(client.Get("/state")->body != before);

  // Another name for this machine, as a hostile page would use.
  CHECK(client.Get("/", {{"Host", "evil.example"}})->status == 403);

  // A log that cannot be read is an answer, not an end.
  write_file(folder.log(), std::string_view("step,epoch,loss\n1,2\n"));
  const auto broken = client.Get("/");
  REQUIRE(broken);
  CHECK(broken->status == 503);
  CHECK(broken->body.find("log.csv:2") != std::string::npos);

  CHECK_THROWS_WITH(ReportServer(folder, port), Catch::Contains("is taken"));
}

TEST_CASE("train --serve takes ports only") {
  CHECK(port_of("0") == 0);
  CHECK(port_of("65535") == 65535);
  CHECK(port_of("") == 8642);
  for (const char* text : {"-1", "65536", "80a", "x", " 80"})
    CHECK_THROWS_AS(port_of(text), UsageError);
}
