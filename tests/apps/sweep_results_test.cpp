#include <chrono>
#include <cmath>
#include <csignal>
#include <fstream>
#include <thread>

#include "apps/child_process.h"
#include "apps/metrics_file.h"
#include "apps/sweep_results.h"
#include "apps/sweep_runner.h"
#include "data/files.h"
#include "kernels/launch/check.h"
#include "tests/support/catch.h"
#include "tests/support/support.h"

namespace frcnn::apps {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// A sweep over learning rates with runs that never were: (log, accuracies) of each.
struct Fixture {
  test::TempDir dir;
  SweepFolder folder{dir.path() / "rates & <batches>"};
  Sweep sweep;

  explicit Fixture(const std::vector<std::string>& rates, std::vector<uint64_t> seeds = {1}) {
    sweep.plan.command = "c.toml";
    sweep.plan.data = {"/data/it's"};
    sweep.plan.seeded = seeds.size() > 1;
    for (size_t i = 0; i < rates.size(); ++i) {
      sweep.plan.combinations.push_back({{"optimizer.lr", rates[i]}});
      for (const uint64_t seed : seeds) {
        const auto number = static_cast<int>(sweep.plan.runs.size()) + 1;
        sweep.plan.runs.push_back({number, "run-" + std::to_string(number), i, seed, 100});
      }
    }
    sweep.states.resize(sweep.plan.runs.size());
    folder.make_folders();
  }
  /// Ten rows of 10 steps whose losses fall from 10 * last to `last`; `map` at the end.
  void trained(size_t run, double last, double map, RunState::Kind kind = RunState::Kind::done) {
    const RunFolder run_folder = folder.run(sweep.plan.runs[run]);
    std::filesystem::create_directories(run_folder.root());
    std::ofstream log(run_folder.log());
    log << "step,epoch,loss\n";
    for (int i = 1; i <= 10; ++i) log << fmt::format("{},{},{}\n", i * 10, i, last * (11 - i));
    log << "105,10.5,7";  // being written
    EvaluationResult result;
    MetricsFile metrics(run_folder.metrics());
    result.map_area = map / 2, result.map_11point = map / 4;
    metrics.add(50, 5, "val", 3, result);
    result.map_area = map, result.map_11point = map / 2;
    metrics.add(100, 10, "val", 3, result);
    sweep.states[run].kind = kind;
    sweep.states[run].stages = kind == RunState::Kind::done ? 1 : 0;
  }
};

TEST_CASE("B6: what a run has reached is read from its log and validations") {
  Fixture f({"0.1", "0.2"});
  f.trained(0, 0.5, 0.8);
  const RunFolder run = f.folder.run(f.sweep.plan.runs[0]);
  const RunResult end = read_run_result(run);
  CHECK(end.step == 100);
  CHECK(end.loss == 0.5);
  CHECK(end.map_area == 0.8);
  CHECK(end.map_11point == 0.4);
  const RunResult half = read_run_result(run, 50);
  CHECK(half.step == 50);
  CHECK(half.loss == 3);
  CHECK(half.map_area == 0.4);
  CHECK(std::isnan(read_run_result(run, 49).map_area));
  CHECK(std::isnan(read_run_result(f.folder.run(f.sweep.plan.runs[1])).loss));
  // Validations that know no mAP.
  write_file(run.metrics(), std::string_view("{\"validations\": [{\"step\": 100}]}"));
  CHECK(std::isnan(read_run_result(run).map_area));
  CHECK_NOTHROW(write_results(f.folder, f.sweep));
}

TEST_CASE("B6: combinations are ranked by the mean over their seeds, failed ones last") {
  Fixture f({"0.1", "0.2", "0.3", "0.4"}, {1, 2});
  f.trained(0, 0.5, 0.6);
  f.trained(1, 0.4, 0.8);
  f.trained(2, 0.9, 0.75);
  f.trained(3, 0.8, 0.75);
  f.trained(4, 0.1, 0.99);
  f.trained(5, 0.1, 0.99, RunState::Kind::failed);
  f.trained(6, 0.3, 0.2);
  f.trained(7, 0.3, kNaN);
  SweepResults results = collect_results(f.folder, f.sweep);
  REQUIRE(results.best());
  CHECK(results.best()->combination == 1);
  CHECK(results.ranking[1].combination == 0);
  CHECK(results.ranking[1].mean == Approx(0.7));
  CHECK(results.ranking[1].low == 0.6);
  CHECK(results.ranking[1].high == 0.8);
  CHECK(results.ranking[2].combination == 3);  // no mean: one seed has no mAP
  CHECK(std::isnan(results.ranking[2].low));
  CHECK(results.ranking[3].combination == 2);
  CHECK(results.ranking[3].kind == RunState::Kind::failed);

  f.sweep.plan.metric = SweepMetric::loss;  // less is better
  results = collect_results(f.folder, f.sweep);
  CHECK(results.best()->combination == 3);
  const std::string table = results_table(f.sweep, results);
  CHECK_THAT(table, test::mentions("done, best"));
  CHECK_THAT(table, test::mentions("best     optimizer.lr = 0.4"));
  CHECK_THAT(table, test::mentions("again    frcnn train c.toml --set optimizer.lr=0.4 --set "
                                   "train.seed=1 --data '/data/it'\\''s' --out NEW"));
}

TEST_CASE("B6: no combination is the best while none is finished") {
  Fixture f({"0.1"});
  SweepResults results = collect_results(f.folder, f.sweep);
  CHECK(!results.best());
  CHECK_THAT(results_table(f.sweep, results), !test::mentions("best"));
  f.trained(0, 0.5, kNaN);
  CHECK(!collect_results(f.folder, f.sweep).best());
}

TEST_CASE("B6: results are written as CSV, JSON and one page without other files") {
  Fixture f({"0.1", "0.2"});
  f.sweep.plan.combinations[1] = {{"roi.hidden", "[64, 32]"}};
  f.trained(0, 0.5, 0.6);
  f.sweep.states[1].kind = RunState::Kind::failed;
  f.sweep.states[1].exit_code = 1;
  f.sweep.states[1].error = "it said \"no\" <b>";
  write_results(f.folder, f.sweep);
  const std::string csv = read_text(f.folder.csv());
  CHECK_THAT(csv, test::mentions("run,name,optimizer.lr,roi.hidden,seed,state,"));
  CHECK_THAT(csv, test::mentions("1,run-1,0.1,,1,done,100,100,10.0000,0.5,0.6,0.3,0.0,0,\n"));
  CHECK_THAT(csv, test::mentions("2,run-2,,\"[64, 32]\",1,failed,0,100,0.0000,,,,0.0,1,\"it said "
                                 "\"\"no\"\" <b>\"\n"));
  const std::string json = read_text(f.folder.json());
  CHECK_THAT(json, test::mentions("\"best\": {"));
  CHECK_THAT(json, test::mentions("\"map_area\": 0.6"));
  CHECK_THAT(json, test::mentions("\"map_area\": null"));
  const std::string html = read_text(f.folder.html());
  CHECK_THAT(html, test::mentions("rates &amp; &lt;batches&gt;"));
  CHECK_THAT(html, test::mentions("it said &quot;no&quot; &lt;b&gt;"));
  CHECK_THAT(html, test::mentions("data-id='0'"));
  CHECK_THAT(html, !test::mentions("http"));
  CHECK_THAT(html, !test::mentions("nan"));
  CHECK_THAT(html, !test::mentions("src="));
}

ProcessEnd wait_for(ChildProcess& child) {
  for (int i = 0; i < 1000; ++i) {
    if (const auto end = child.poll()) return *end;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  FAIL("the child did not end in 10 seconds");
  return {};
}

TEST_CASE("a child process's output is kept, and its exit code or signal") {
  const test::TempDir dir;
  const auto log = dir.path() / "log";
  ChildProcess first({"/bin/sh", "-c", "echo out; echo 'frcnn: error: no luck' >&2; exit 7"}, log);
  const ProcessEnd end = wait_for(first);
  CHECK(end.exit_code == 7);
  CHECK(end.signal == 0);
  CHECK(read_text(log) == "out\nfrcnn: error: no luck\n");
  CHECK(failure_text(log, end) == "no luck");
  // The signal reaches what the child itself has started.
  ChildProcess second({"/bin/sh", "-c", "sleep 100; echo never"}, log);
  second.send(SIGTERM);
  const ProcessEnd killed = wait_for(second);
  CHECK(killed.signal == SIGTERM);
  CHECK_THAT(failure_text(log, killed), test::mentions("ended by signal 15"));
  CHECK(read_text(log) == "out\nfrcnn: error: no luck\n");
  CHECK_THROWS_WITH(ChildProcess({"/no/such/program"}, log), test::mentions("cannot be started"));
  CHECK_THROWS_WITH(ChildProcess({"/bin/sh"}, dir.path() / "no" / "log"),
                    test::mentions("cannot be written"));
}

TEST_CASE("a folder's lock excludes others until its holder and, if inherited, its children end") {
  const test::TempDir dir;
  const auto log = dir.path() / "log", folder = dir.path();
  FolderLock other;
  auto child = [&] {
    FolderLock lock;
    CHECK(lock.acquire(folder, /*inherited=*/true));
    CHECK(!other.acquire(folder, /*inherited=*/false));
    return ChildProcess({"/bin/sleep", "100"}, log);
  }();
  CHECK(!other.acquire(folder, /*inherited=*/false));
  child.send(SIGKILL);
  wait_for(child);
  CHECK(other.acquire(folder, /*inherited=*/false));
}

}  // namespace
}  // namespace frcnn::apps
