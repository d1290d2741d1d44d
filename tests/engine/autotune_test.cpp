// Choosing among kernels: the rules, with seconds that the test hands out, and the files.
#include "engine/autotune.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <map>

#include "engine/tuning.h"
#include "kernels/launch/check.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;
using Catch::Matchers::Contains;

namespace {

namespace fs = std::filesystem;

const TuningKey kKey{"conv2d forward f32 64>64", "1x60x100", 6000};
const std::vector<TuningCandidate> kThree = {{"plain"}, {"tiled", 1000}, {"split", 2000}};

/// Hands out seconds by the candidate's name and counts who was asked.
struct Seconds {
  std::map<std::string, double> of;
  std::map<std::string, int> asked;
  Autotuner::Measure measure() {
    return [this](const TuningCandidate& candidate) {
      ++asked[candidate.name];
      const double seconds = of.at(candidate.name);
      check(seconds > 0, "[test] {} is not for this device", candidate.name);
      return seconds;
    };
  }
};

struct Warnings {
  std::vector<std::string> texts;
  std::function<void(const std::string&)> sink() {
    return [this](const std::string& text) { texts.push_back(text); };
  }
};

Autotuner::Settings settings(const fs::path& file = {}, Warnings* warnings = nullptr) {
  Autotuner::Settings result;
  result.file = file;
  result.device = "a GPU";
  result.program = "1.0";
  if (warnings) result.warn = warnings->sink();
  return result;
}

}  // namespace

TEST_CASE("autotune: the fastest is taken and remembered; the first stays for small differences") {
  Autotuner tuner(settings());
  Seconds seconds{{{"plain", 3e-3}, {"tiled", 1e-3}, {"split", 2e-3}}, {}};
  CHECK(tuner.choose(kKey, kThree, seconds.measure()) == 1);
  seconds.of = {{"plain", 1e-3}, {"tiled", 9e-3}, {"split", 9e-3}};
  CHECK(tuner.choose(kKey, kThree, seconds.measure()) == 1);
  CHECK(seconds.asked == std::map<std::string, int>{{"plain", 1}, {"split", 1}, {"tiled", 1}});
  CHECK(tuner.expected(kKey, kThree) == 1);

  Seconds close{{{"plain", 1.00e-3}, {"tiled", 0.98e-3}, {"split", 0.99e-3}}, {}};
  CHECK(tuner.choose({"another", "1", 1}, kThree, close.measure()) == 0);
  close.of["split"] = 0.96e-3;
  CHECK(tuner.choose({"a third", "1", 1}, kThree, close.measure()) == 2);
}

TEST_CASE("autotune: family and size make the key; near sizes share a choice, far ones do not") {
  Autotuner tuner(settings());
  Seconds first{{{"plain", 3}, {"tiled", 1}, {"split", 2}}, {}};
  Seconds second{{{"plain", 3}, {"tiled", 2}, {"split", 1}}, {}};
  CHECK(tuner.choose({"f32", "1000", 1000}, kThree, first.measure()) == 1);
  CHECK(tuner.choose({"tf32", "1000", 1000}, kThree, second.measure()) == 2);
  CHECK(tuner.choose({"f32", "2000", 2000}, kThree, second.measure()) == 2);
  CHECK(second.asked["tiled"] == 2);
  CHECK(tuner.choose({"f32", "1240", 1240}, kThree, second.measure()) == 1);
  CHECK(tuner.choose({"f32", "1700", 1700}, kThree, second.measure()) == 2);
  CHECK(second.asked["tiled"] == 2);
  // 1500 is near 1240, but that was not measured itself.
  CHECK(tuner.choose({"f32", "1500", 1500}, kThree, first.measure()) == 1);
  CHECK(first.asked["tiled"] == 2);
  // A family whose name begins like another's is another.
  CHECK(tuner.choose({"f3", "1000", 1000}, kThree, second.measure()) == 2);
  CHECK(second.asked["tiled"] == 3);
}

TEST_CASE("autotune: what cannot be done, or needs too much memory, does not compete") {
  Autotuner::Settings limited = settings();
  limited.memory_limit = 1500;
  Autotuner tuner(limited);
  Seconds seconds{{{"plain", 3}, {"tiled", -1}, {"split", 1}}, {}};
  CHECK(tuner.choose(kKey, kThree, seconds.measure()) == 0);
  CHECK(seconds.asked == std::map<std::string, int>{{"plain", 1}, {"tiled", 1}});
  // The first may need what it needs; and it may be the one that fails.
  Autotuner other(limited);
  seconds.of = {{"plain", -1}, {"tiled", 2}};
  CHECK(other.choose(kKey, {{"plain", 99999}, {"tiled", 5}}, seconds.measure()) == 1);
  // Where nothing works it is the first.
  Autotuner none(limited);
  seconds.of = {{"plain", -1}, {"tiled", std::nan("")}, {"split", -1}};
  CHECK(none.choose(kKey, kThree, seconds.measure()) == 0);
  CHECK_THROWS_WITH(none.choose(kKey, {}, seconds.measure()), Contains("nothing to choose from"));
}

TEST_CASE("autotune: choices are read back, by the same device and program only") {
  const TempDir dir;
  const fs::path file = dir.path() / "deep" / "tuning.json";
  Seconds seconds{{{"plain", 3}, {"tiled", 1}, {"split", -1}}, {}};
  CHECK(Autotuner(settings(file)).choose(kKey, kThree, seconds.measure()) == 1);
  CHECK(Autotuner(settings(file)).choose(kKey, kThree, nullptr) == 1);
  const TuningFile content = read_tuning(file);
  CHECK(content.device == "a GPU");
  CHECK(content.entries.at(kKey.text()).seconds ==
        std::map<std::string, double>{{"plain", 3}, {"split", -1}, {"tiled", 1}});

  Warnings warnings;
  Autotuner::Settings other = settings(file, &warnings);
  other.device = "another GPU";
  seconds.of = {{"plain", 1}, {"tiled", 3}, {"split", 2}};
  CHECK(Autotuner(other).choose(kKey, kThree, seconds.measure()) == 0);
  REQUIRE(warnings.texts.size() == 1);
  CHECK_THAT(warnings.texts[0], Contains("was measured on a GPU by version 1.0"));
  CHECK(read_tuning(file).device == "another GPU");
  CHECK(Autotuner(settings(file)).expected(kKey, kThree) == 0);

  // A version that was not there when the others were measured.
  Autotuner newer(other);
  auto four = kThree;
  four.push_back({"new"});
  seconds.of["new"] = 0.5;
  CHECK(newer.choose(kKey, four, seconds.measure()) == 3);
  CHECK(Autotuner(other).choose(kKey, four, nullptr) == 3);
  // One that is gone, as a library may be.
  CHECK(Autotuner(other).choose(kKey, kThree, seconds.measure()) == 0);
}

TEST_CASE("autotune: a damaged or foreign file is told, not used, and written anew") {
  for (const std::string content :
       {"", "{\"format\": \"frcnn tuning 1\", \"choi", "[1, 2]", "{\"format\": \"something\"}",
        "{\"format\": 7}", "\xff\xfe",
        "{\"format\": \"frcnn tuning 1\", \"device\": \"a GPU\", \"program\": \"1.0\", "
        "\"choices\": {\"x\": {\"version\": 3}}}"}) {
    const TempDir dir;
    const fs::path file = dir.path() / "tuning.json";
    std::ofstream(file) << content;
    INFO(content);
    CHECK_THROWS_AS(read_tuning(file), Error);
    Warnings warnings;
    Autotuner tuner(settings(file, &warnings));
    REQUIRE(warnings.texts.size() == 1);
    CHECK_THAT(warnings.texts[0], Contains(file.string()) && Contains("measuring anew"));
    Seconds seconds{{{"plain", 3}, {"tiled", 1}, {"split", 2}}, {}};
    CHECK(tuner.choose(kKey, kThree, seconds.measure()) == 1);
    CHECK(Autotuner(settings(file)).expected(kKey, kThree) == 1);
  }
}

TEST_CASE("autotune: a file that cannot be written is told once; the choices hold") {
  const TempDir dir;
  std::ofstream(dir.path() / "a file") << "x";
  Warnings warnings;
  Autotuner tuner(settings(dir.path() / "a file" / "tuning.json", &warnings));
  Seconds seconds{{{"plain", 3}, {"tiled", 1}, {"split", 2}}, {}};
  CHECK(tuner.choose(kKey, kThree, seconds.measure()) == 1);
  CHECK(tuner.choose({"more", "1", 1}, kThree, seconds.measure()) == 1);
  REQUIRE(warnings.texts.size() == 1);
  CHECK_THAT(warnings.texts[0], Contains("choices among kernels are not kept"));
}

TEST_CASE("autotune: processes that share a file lose nothing; the first choice of a key stays") {
  const TempDir dir;
  const fs::path file = dir.path() / "tuning.json";
  constexpr int kProcesses = 4, kChoices = 12;
  for (int process = 0; process < kProcesses; ++process)
    if (fork() == 0) {
      Autotuner tuner(settings(file));
      for (int i = 0; i < kChoices; ++i)
        tuner.choose({fmt::format("work {} {}", process, i), "1", 1}, kThree,
                     [](const TuningCandidate& c) { return c.name == "split" ? 1.0 : 2.0; });
      tuner.choose({"shared", "1", 1}, kThree, [&](const TuningCandidate& c) {
        return c.name == (process % 2 == 0 ? "split" : "tiled") ? 1.0 : 2.0;
      });
      _exit(0);
    }
  for (int process = 0; process < kProcesses; ++process) {
    int status = 1;
    wait(&status);
    CHECK(status == 0);
  }
  CHECK(read_tuning(file).entries.size() == kProcesses * kChoices + 1);
  const size_t shared = Autotuner(settings(file)).expected({"shared", "1", 1}, kThree);
  CHECK((shared == 1 || shared == 2));
  add_to_tuning(file, {"a GPU", "1.0", true, {{"shared @ 1", {"plain", 1, {}, {}}}}});
  CHECK(Autotuner(settings(file)).expected({"shared", "1", 1}, kThree) == shared);
}

TEST_CASE("autotune: a resumed run goes on with its choices and its way of coming to them") {
  const TempDir dir;
  const fs::path machine = dir.path() / "tuning.json", run = dir.path() / "run.json";
  Seconds seconds{{{"plain", 3}, {"tiled", 1}, {"split", 2}}, {}};
  {
    Autotuner tuner(settings(machine));
    tuner.choose({"known", "1", 1}, kThree, seconds.measure());
    tuner.keep_run(run, false);
    CHECK(!fs::exists(run));
    CHECK(tuner.choose({"known", "1", 1}, kThree, nullptr) == 1);
    CHECK(read_tuning(run).entries.size() == 1);
    tuner.choose(kKey, kThree, seconds.measure());
    CHECK(read_tuning(run).entries.size() == 2);
  }
  // Meanwhile the machine's choices have changed.
  fs::remove(machine);
  seconds.of = {{"plain", 3}, {"tiled", 2}, {"split", 1}};
  CHECK(Autotuner(settings(machine)).choose(kKey, kThree, seconds.measure()) == 2);
  Warnings warnings;
  {
    Autotuner tuner(settings(machine, &warnings));
    tuner.keep_run(run, true);
    CHECK(tuner.choose(kKey, kThree, nullptr) == 1);
    CHECK(tuner.expected({"known", "1", 1}, kThree) == 1);
    CHECK(warnings.texts.empty());
    // Where the run's choice cannot be had, it is said.
    CHECK(tuner.choose(kKey, {{"plain"}, {"split"}}, seconds.measure()) == 1);
    REQUIRE(warnings.texts.size() == 1);
    CHECK_THAT(warnings.texts[0], Contains("this run took tiled"));
  }
  {  // A new run of the same folder name does not read it.
    Autotuner tuner(settings(machine));
    tuner.keep_run(run, false);
    CHECK(tuner.choose(kKey, kThree, nullptr) == 2);
  }
  // A run that began without measuring goes on so, whatever is known by now.
  const fs::path fixed = dir.path() / "fixed.json";
  {
    Autotuner::Settings off = settings();
    off.measure = false;
    Autotuner tuner(off);
    tuner.keep_run(fixed, false);
    CHECK(tuner.choose(kKey, kThree, nullptr) == 0);
    CHECK(!read_tuning(fixed).measure);
  }
  {
    Autotuner tuner(settings(machine));
    CHECK(tuner.expected(kKey, kThree) == 2);
    tuner.keep_run(fixed, true);
    CHECK(tuner.choose(kKey, kThree, nullptr) == 0);
    CHECK(tuner.choose({"new", "1", 1}, kThree, nullptr) == 0);
  }
  std::ofstream(fixed) << "{";
  CHECK_THROWS_WITH(Autotuner(settings()).keep_run(fixed, true), Contains("is damaged"));
}

TEST_CASE("autotune: the median of samples as long as a tenth of a millisecond") {
  double now = 0, began = 0, cost = 0;
  int runs = 0, samples = 0;
  const TuningClock clock{[&] { began = now; },
                          [&] {
                            // Some samples are disturbed.
                            const double spent = now - began;
                            return ++samples % 3 == 0 ? 3 * spent : spent;
                          }};
  const auto run = [&] {
    now += cost;
    ++runs;
  };
  cost = 1e-3;
  CHECK(std::abs(measured_seconds(clock, run, 1) - 1e-3) < 1e-9);
  CHECK(runs == 7);
  runs = 0, cost = 1e-5;
  CHECK(std::abs(measured_seconds(clock, run, 1) - 1e-5) < 1e-9);
  CHECK(runs > 20);
  CHECK(runs <= 2 + 5 * 20);
  runs = 0, cost = 0.5;
  measured_seconds(clock, run, 0.1);
  CHECK(runs == 2);
}

TEST_CASE("autotune: where the file is") {
  const std::string home = std::getenv("HOME") ? std::getenv("HOME") : "";
  setenv("XDG_CACHE_HOME", "/cache", 1);
  CHECK(tuning_file("NVIDIA H100 80GB (HBM3)") == "/cache/frcnn/tuning-nvidia-h100-80gb-hbm3.json");
  setenv("XDG_CACHE_HOME", "not/absolute", 1);
  setenv("HOME", "/home/somebody", 1);
  CHECK(tuning_file("x") == "/home/somebody/.cache/frcnn/tuning-x.json");
  unsetenv("XDG_CACHE_HOME");
  unsetenv("HOME");
  CHECK(tuning_file("x").empty());
  if (!home.empty()) setenv("HOME", home.c_str(), 1);
}
