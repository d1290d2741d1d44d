#include <cmath>
#include <fstream>
#include <set>
#include <sstream>

#include "apps/chart.h"
#include "apps/evaluation_text.h"
#include "apps/metrics_file.h"
#include "apps/report.h"
#include "apps/run_folder.h"
#include "apps/terminal.h"
#include "apps/training_log.h"
#include "data/files.h"
#include "kernels/launch/check.h"
#include "tests/support/catch.h"
#include "tests/support/support.h"

namespace frcnn::apps {
namespace {

TEST_CASE("sizes are read with their units") {
  CHECK(parse_bytes("1024") == 1024);
  CHECK(parse_bytes("4GiB") == size_t{4} << 30);
  CHECK(parse_bytes("500MB") == 500000000);
  CHECK(parse_bytes("1.5 GB") == 1500000000);
  for (const char* bad : {"", "GB", "-1GB", "4apples", "nan", "1e30", "0"}) {
    INFO(bad);
    CHECK_THROWS_AS(parse_bytes(bad), UsageError);
  }
}

TEST_CASE("durations and columns are readable") {
  CHECK(duration_text(0.4) == "0 s");
  CHECK(duration_text(59.6) == "1 min 00 s");
  CHECK(duration_text(200) == "3 min 20 s");
  CHECK(duration_text(7500) == "2 h 05 min");
  CHECK(duration_text(NAN) == "?");
  CHECK(padded("ab", 4) == "ab  ");
  CHECK(padded("\u00fc", -3) == "  \u00fc");
}

TEST_CASE("base64 as RFC 4648 gives it") {
  const auto encode = [](const std::string& text) { return base64({text.begin(), text.end()}); };
  CHECK(encode("") == "");
  CHECK(encode("f") == "Zg==");
  CHECK(encode("fo") == "Zm8=");
  CHECK(encode("foo") == "Zm9v");
  CHECK(encode("foobar") == "Zm9vYmFy");
  CHECK(base64({0xff, 0xfe, 0xfd}) == "//79");
}

TEST_CASE("axis ticks are round and cover the values") {
  CHECK(axis_ticks(0, 1, 5) == std::vector<double>{0, 0.2, 0.4, 0.6000000000000001, 0.8, 1});
  const auto ticks = axis_ticks(3, 97, 5);
  CHECK(ticks.front() <= 3);
  CHECK(ticks.back() >= 97);
  CHECK(ticks.size() <= 7);
}

TEST_CASE("a chart escapes its texts and breaks its line where a value is not finite") {
  Series broken{"a<b", {0, 1, 2, 3}, {1, NAN, 2, 3}};
  const std::string html = chart_html({"x & y", {broken, broken}}, "\"title\"");
  CHECK(html.find("a&lt;b") != std::string::npos);
  CHECK(html.find("x &amp; y") != std::string::npos);
  CHECK(html.find("nan") == std::string::npos);
  const std::string path = html.substr(html.find("<path"));
  const std::string d = path.substr(0, path.find("/>"));
  CHECK(std::count(d.begin(), d.end(), 'M') == 2);
}

TEST_CASE("a smoothed curve has no mean across a break") {
  Series steps{"stages", {}, {}};
  steps.smooth = true;
  for (int i = 0; i < 41; ++i) {
    steps.x.push_back(i);
    steps.y.push_back(i == 20 ? NAN : double(i > 20));
  }
  const std::string html = chart_html({"step", {steps}}, "stages");
  const std::string line = html.substr(html.find("<path class='line'"));
  const std::string d = line.substr(line.find("d='") + 3, line.find("'/>") - line.find("d='"));
  std::set<std::string> heights;  // M12.0 34.5L13.1 34.5...
  for (size_t at = d.find(' '); at != std::string::npos && at < d.find("'");
       at = d.find(' ', at + 1))
    heights.insert(d.substr(at + 1, d.find_first_of("LM'", at) - at - 1));
  CHECK(heights.size() == 2);
}

TEST_CASE("a log window goes through a checkpoint") {
  StepStats stats;
  stats.total = 0.1;
  LogWindow window;
  window.add(stats);
  window.add(StepStats{});
  Checkpoint checkpoint;
  window.store(checkpoint);
  const LogWindow back = LogWindow::load(checkpoint);
  CHECK(back.updates == 2);
  CHECK(back.total == 0.1);
  CHECK(LogWindow::load(Checkpoint{}).updates == 0);
}

EvaluationResult result_of(double map) {
  EvaluationResult result;
  result.map_area = result.map_11point = map;
  ClassResult c;
  c.name = "cat";
  c.ap_area = map;
  c.ap_11point = NAN;
  result.classes.push_back(c);
  return result;
}

TEST_CASE("metrics are one entry per step and can be cut back") {
  const test::TempDir dir;
  MetricsFile metrics(dir.path() / "metrics.json");
  CHECK(!metrics.has(5));
  metrics.add(5, 1, "val", 3, result_of(0.25));
  metrics.add(10, 2, "val", 3, result_of(0.625));
  metrics.add(10, 2, "val", 3, result_of(0.75));
  CHECK(metrics.has(5));
  CHECK(metrics.has(10));
  CHECK(metrics.text().find("0.625") == std::string::npos);
  CHECK(metrics.text().find("\"ap_voc07_11point\": null") != std::string::npos);
  metrics.cut_after(7);
  CHECK(metrics.has(5));
  CHECK(!metrics.has(10));
  write_file(dir.path() / "metrics.json", std::string_view("{"));
  CHECK_THROWS_AS(metrics.text(), Error);
}

TEST_CASE("both metrics are named in the table") {
  const std::string table = evaluation_table(result_of(0.5));
  CHECK(table.find("AP@0.5 (area)") != std::string::npos);
  CHECK(table.find("AP@0.5 (VOC07 11-point)") != std::string::npos);
  CHECK(table.find("0.5000") != std::string::npos);
}

TEST_CASE("a run's folder keeps the newest checkpoints and names the last model.h5") {
  const test::TempDir dir;
  const RunFolder folder(dir.path() / "a" / "run");
  CHECK_NOTHROW(folder.check_writable());
  CHECK(std::filesystem::is_empty(dir.path()));
  CHECK(folder.empty());
  CHECK(!folder.newest());
  folder.create();
  Checkpoint checkpoint;
  checkpoint.parameters["w"] = Tensor::zeros(Shape{1});
  for (const int64_t step : {5, 10, 200000000, 15}) {
    checkpoint.training["step"] = step;
    folder.save(checkpoint, step, 2);
  }
  // The highest steps stay, also where their names are longer.
  CHECK(folder.newest()->filename() == "step-200000000.h5");
  CHECK(!std::filesystem::exists(folder.checkpoints() / "step-00000005.h5"));
  CHECK(!std::filesystem::exists(folder.checkpoints() / "step-00000010.h5"));
  CHECK(std::filesystem::exists(folder.checkpoints() / "step-00000015.h5"));
  CHECK(load_checkpoint(folder.model()).training_int("step") == 15);
  folder.save(checkpoint, 15, 2);  // once more: the same name
  CHECK(!std::filesystem::exists(folder.root() / "model.h5.tmp"));
}

}  // namespace
}  // namespace frcnn::apps
