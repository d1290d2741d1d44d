#include <algorithm>
#include <cmath>
#include <set>

#include "apps/sweep_folder.h"
#include "apps/sweep_plan.h"
#include "data/files.h"
#include "data/synth.h"
#include "kernels/launch/check.h"
#include "tests/support/catch.h"
#include "tests/support/support.h"

namespace frcnn::apps {
namespace {

std::vector<std::string> texts(const std::vector<Combination>& combinations) {
  std::vector<std::string> result;
  for (const Combination& combination : combinations)
    result.push_back(combination_text(combination));
  return result;
}

TEST_CASE("B6: a grid's values are read as the option table writes them") {
  CHECK(parse_axis("optimizer.lr=0.010, 1e-3").values == std::vector<std::string>{"0.01", "0.001"});
  CHECK(parse_axis("train.epochs=5").values == std::vector<std::string>{"5"});
  CHECK(parse_axis("roi.hidden=[256,256];[512]").values ==
        std::vector<std::string>{"[256, 256]", "[512]"});
  CHECK(parse_axis("roi.hidden=[256,256],[512]").values ==
        std::vector<std::string>{"[256, 256]", "[512]"});
  CHECK(parse_axis("roi.layer=roi_pool,roi_align").values ==
        std::vector<std::string>{"\"roi_pool\"", "\"roi_align\""});
  CHECK(parse_axis("data.flip=true,false").values == std::vector<std::string>{"true", "false"});
}

TEST_CASE("B6: a wrong grid is refused with its key and value") {
  const auto refused = [](const std::string& text, const std::string& part) {
    INFO(text);
    CHECK_THROWS_WITH(parse_axis(text), test::mentions(part));
    CHECK_THROWS_AS(parse_axis(text), UsageError);
  };
  refused("optimizer.lr", "expected KEY=VALUE,VALUE");
  refused("optimizer.rate=1", "unknown key 'optimizer.rate'");
  refused("optimizer=1", "'optimizer' is a section");
  refused("optimizer.lr=0.1,-1", "optimizer.lr must be 0 to 10, found -1");
  refused("train.batch=2,2.5", "train.batch must be an integer, found 2.5");
  refused("train.batch=2,,4", "train.batch must be an integer");
  refused("optimizer.lr=0.1,0.10", "optimizer.lr = 0.1 stands there twice");
  refused("roi.layer=roi_crop", "roi.layer must be one of");
  refused("optimizer.lr=log(0,1)", "0 < LOW < HIGH");
  refused("optimizer.lr=log(1e-1,1e-4)", "0 < LOW < HIGH");
  refused("optimizer.lr=uniform(1)", "uniform(LOW,HIGH)");
  refused("optimizer.lr=uniform(-1,1)", "optimizer.lr must be 0 to 10, found -1");
  refused("roi.layer=uniform(0,1)", "roi.layer is a string");
}

TEST_CASE("B6: a grid is every combination, the last key changing fastest") {
  const auto grid =
      grid_product({parse_axis("optimizer.lr=0.1,0.2"), parse_axis("train.epochs=5,6,7")});
  CHECK(texts(grid) ==
        std::vector<std::string>{
            "optimizer.lr = 0.1, train.epochs = 5", "optimizer.lr = 0.1, train.epochs = 6",
            "optimizer.lr = 0.1, train.epochs = 7", "optimizer.lr = 0.2, train.epochs = 5",
            "optimizer.lr = 0.2, train.epochs = 6", "optimizer.lr = 0.2, train.epochs = 7"});
  const Axis rates = parse_axis("optimizer.lr=0.1,0.2");
  CHECK_THROWS_WITH(grid_product({rates, rates}), test::mentions("stands in two --grid"));
  CHECK_THROWS_WITH(grid_product({parse_axis("optimizer.lr=log(1e-4,1)")}),
                    test::mentions("say how many with --random N"));
}

TEST_CASE("B6: random combinations follow the seed, stay in their ranges and never repeat") {
  const std::vector<Axis> axes = {parse_axis("optimizer.lr=log(1e-4,1e-1)"),
                                  parse_axis("train.batch=uniform(1,4)"),
                                  parse_axis("roi.layer=roi_pool,roi_align")};
  const auto many = random_combinations(axes, 400, 7);
  auto few = random_combinations(axes, 10, 7);
  CHECK(std::equal(few.begin(), few.end(), many.begin()));
  CHECK(random_combinations(axes, 10, 8) != few);
  CHECK(std::set<Combination>(many.begin(), many.end()).size() == 400);
  std::vector<double> rates;
  std::set<std::string> batches, layers;
  for (const Combination& combination : many) {
    rates.push_back(std::stod(combination[0].second));
    CHECK(combination[0].second.size() <= 9);  // three digits
    batches.insert(combination[1].second);
    layers.insert(combination[2].second);
  }
  CHECK(*std::min_element(rates.begin(), rates.end()) >= 1e-4);
  CHECK(*std::max_element(rates.begin(), rates.end()) <= 1e-1);
  // Log-uniform: half of the values below the geometric middle, 10^-2.5.
  const auto below = std::count_if(rates.begin(), rates.end(),
                                   [](double rate) { return rate < std::pow(10, -2.5); });
  CHECK(below > 160);
  CHECK(below < 240);
  CHECK(batches == std::set<std::string>{"1", "2", "3", "4"});
  CHECK(layers.size() == 2);
  const std::vector<Axis> four = {axes[1]};
  CHECK(random_combinations(four, 4, 1).size() == 4);
  CHECK_THROWS_WITH(random_combinations(four, 5, 1),
                    test::mentions("only 4 different combinations"));
}

TEST_CASE("B6: combinations are read from TOML and CSV alike") {
  const test::TempDir dir;
  write_file(
      dir.path() / "a.toml",
      std::string_view("[[run]]\noptimizer.lr = 0.01\nroi.hidden = [64,\n 32]\n"
                       "[[run]]\n\"roi.layer\" = \"roi_pool\"\n[run.optimizer]\nlr = 0.10\n"));
  write_file(dir.path() / "a.csv", std::string_view("optimizer.lr,roi.hidden, roi.layer\r\n"
                                                    "0.01,\"[64,32]\",\r\n\n0.10,,roi_pool\n"));
  const std::vector<std::string> expected = {"optimizer.lr = 0.01, roi.hidden = [64, 32]",
                                             "optimizer.lr = 0.1, roi.layer = \"roi_pool\""};
  CHECK(texts(read_combinations(dir.path() / "a.toml")) == expected);
  CHECK(texts(read_combinations(dir.path() / "a.csv")) == expected);

  const auto refused = [&](const char* name, std::string_view text, const std::string& part) {
    write_file(dir.path() / name, text);
    CHECK_THROWS_WITH(read_combinations(dir.path() / name), test::mentions(part));
  };
  refused("b.toml", "[[run]]\nseed = 1\n[[run]]\noptimizer.lr = -1\n", "b.toml:2: unknown key");
  refused("b.toml", "[[run]]\noptimizer.lr = -1\n", "b.toml:2: optimizer.lr must be 0 to 10");
  refused("b.toml", "optimizer.lr = 1\n", "one table [[run]] for each");
  refused("b.toml", "[[run]\n", "not valid TOML");
  refused("b.csv", "optimizer.lr\n0.1,2\n", "b.csv:2: expected 1 cells");
  refused("b.csv", "optimizer.lr\n", "holds no combination");
  refused("b.csv", "optimizer.lr\n0.1\n0.10\n", "combinations 1 and 2 are the same");
}

/// A data set of 14 pictures for training, and a config for it.
struct Set {
  test::TempDir dir;
  SweepRequest request;
  Set() {
    SynthOptions options;
    options.images = 20;
    options.width = 64;
    options.height = 48;
    options.min_size = 12;
    options.max_size = 24;
    make_synthetic(dir.path() / "data", options);
    request.config = (test::source_dir() / "configs/quickstart.toml").string();
    request.data = {(dir.path() / "data").string()};
    request.grid = {"optimizer.lr=0.01,0.02", "train.epochs=2,4"};
  }
};

TEST_CASE("B6: a plan names every run, its seed and its steps") {
  Set set;
  set.request.fixed = {"train.batch=2"};
  set.request.seeds = {3, 9};
  const SweepPlan plan = make_plan(set.request);
  REQUIRE(plan.runs.size() == 8);
  CHECK(plan.runs[0].name == "001-lr-0.01-epochs-2-seed-3");
  CHECK(plan.runs[7].name == "008-lr-0.02-epochs-4-seed-9");
  CHECK(plan.runs[0].steps == 14);
  CHECK(plan.runs[7].steps == 28);
  CHECK(plan.settings(plan.runs[2]) == std::vector<std::string>{"--set", "optimizer.lr=0.01",
                                                                "--set", "train.epochs=4", "--set",
                                                                "train.seed=3"});
  CHECK_THAT(plan.command, test::mentions("quickstart.toml --set train.batch=2"));
}

TEST_CASE("B6: a sweep over joined data sets counts the pictures of all") {
  Set set;
  const Set other;
  set.request.data.push_back(other.request.data[0]);
  set.request.fixed = {"train.batch=2"};
  const SweepPlan plan = make_plan(set.request);
  CHECK(plan.runs[0].steps == 28);
  CHECK(data_words(plan) ==
        std::vector<std::string>{"--data", set.request.data[0], "--data", other.request.data[0]});
}

TEST_CASE("B6: a plan that cannot be carried out is refused before anything starts") {
  Set set;
  const auto refused = [&](const std::string& part) {
    CHECK_THROWS_WITH(make_plan(set.request), test::mentions(part));
    set.request = Set().request;
    set.request.data = {(set.dir.path() / "data").string()};
  };
  set.request.grid = {"rpn.negative_iou=0.2,0.9"};  // the second is above positive_iou
  refused("combination 2 (rpn.negative_iou = 0.9)");
  set.request.fixed = {"optimizer.lr=0.5"};
  refused("the sweep varies optimizer.lr");
  set.request.seeds = {1, 2, 1};
  refused("--seeds: 1 stands there twice");
  set.request.seeds = {1};
  set.request.grid.emplace_back("train.seed=1,2");
  refused("the sweep varies train.seed already");
  set.request.grid.clear();
  refused("needs settings to vary");
  set.request.list = "x.toml";
  refused("leave --grid and --random out");
  set.request.fixed = {"data.val_split=\"\""};
  refused("add --metric loss");
  set.request.metric = "accuracy";
  refused("--metric must be map_area, map_11point or loss, found 'accuracy'");
  set.request.halving = 1;
  refused("--halving must be above 1");
  set.request.rungs = 1;
  refused("--rungs needs --halving");
  set.request.data[0] += "-absent";
  refused("-absent");
}

TEST_CASE("B6: successive halving shortens the runs and keeps the best share") {
  Set set;
  set.request.grid = {"optimizer.lr=0.01,0.02,0.03,0.04,0.05,0.06,0.07,0.08,0.09",
                      "train.steps=90,180"};
  set.request.halving = 3;
  SweepPlan plan = make_plan(set.request);
  REQUIRE(plan.combinations.size() == 18);
  CHECK(plan.rungs == 3);
  CHECK(plan.survivors(0) == 6);
  CHECK(plan.survivors(1) == 2);
  CHECK(plan.survivors(2) == 1);
  CHECK(plan.stage_steps(plan.runs[0], 0) == 3);
  CHECK(plan.stage_steps(plan.runs[1], 1) == 20);
  CHECK(plan.stage_steps(plan.runs[1], 3) == 180);
  set.request.rungs = 1;
  plan = make_plan(set.request);
  CHECK(plan.rungs == 1);
  CHECK(plan.stage_steps(plan.runs[0], 0) == 30);
}

TEST_CASE("B6: sweep.json brings a sweep back, and a changed plan is refused by name") {
  Set set;
  set.request.halving = 2;
  set.request.seeds = {1, 18446744073709551ULL};
  Sweep sweep(make_plan(set.request));
  sweep.threads = 3;
  sweep.decided = 1;
  sweep.states[2] = {RunState::Kind::failed, 1, 2.5, 139, "line \"one\""};
  const SweepFolder folder(set.dir.path() / "out");
  folder.make_folders();
  folder.save_all(sweep);
  const Sweep back = folder.load();
  CHECK(back.threads == 3);
  CHECK(back.decided == 1);
  CHECK(back.states[2].kind == RunState::Kind::failed);
  CHECK(back.states[2].exit_code == 139);
  CHECK(back.states[2].error == "line \"one\"");
  CHECK(back.plan.combinations == sweep.plan.combinations);
  CHECK_NOTHROW(require_same_plan(back.plan, make_plan(set.request), folder.root()));

  const auto refused = [&](const SweepRequest& request, const std::string& part) {
    CHECK_THROWS_WITH(require_same_plan(back.plan, make_plan(request), folder.root()),
                      test::mentions(part));
  };
  SweepRequest other = set.request;
  other.fixed = {"optimizer.momentum=0.5"};
  refused(other, "started with optimizer.momentum = 0.9, which cannot become 0.5");
  other = set.request;
  other.grid[0] = "optimizer.lr=0.01,0.03";
  refused(other, "combination 3 = optimizer.lr = 0.02, train.epochs = 2");
  other = set.request;
  other.seeds = {1, 2};
  refused(other, "run 2's seed = 18446744073709551, which cannot become 2");
  other = set.request;
  other.halving = 0;
  refused(other, "--halving = 2, which cannot become 0");

  for (const char* text : {"", "{}", "[1]", "{\"format\": \"frcnn sweep 1\"}"}) {
    INFO(text);
    write_file(folder.plan(), std::string_view(text));
    CHECK_THROWS_WITH(folder.load(), test::mentions("sweep.json: cannot be read"));
  }
}

}  // namespace
}  // namespace frcnn::apps
