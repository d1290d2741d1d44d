// What a run tells about its data, time, memory and environment, and the report's sections of it.
#include <nlohmann/json.hpp>

#include "apps/data_card.h"
#include "apps/metrics_file.h"
#include "apps/report.h"
#include "apps/report_sections.h"
#include "apps/run_session.h"
#include "apps/train_data.h"
#include "apps/train_run.h"
#include "apps/training_log.h"
#include "data/files.h"
#include "data/synth.h"
#include "kernels/launch/check.h"
#include "model/options.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::apps;

namespace {

using nlohmann::json;

Object object(Box box, int label, bool difficult = false, bool crowd = false) {
  Object made;
  made.box = box, made.label = label, made.difficult = difficult, made.crowd = crowd;
  return made;
}

Dataset two_pictures() {
  Dataset set;
  set.class_names = {"cat", "<dog>"};
  ImageRecord& first = set.images.emplace_back();
  first.id = "a", first.width = 1200, first.height = 800;
  first.objects = {object({0, 0, 10, 10}, 0), object({0, 0, 100, 100}, 0, true),
                   object({0, 0, 900, 600}, 1), object({0, 0, 50, 50}, 1, false, true)};
  ImageRecord& second = set.images.emplace_back();
  second.id = "b", second.width = 640, second.height = 480;
  return set;
}

/// A set of drawn shapes, and a config that trains on it for a few steps.
struct SmallRun {
  test::TempDir dir;
  Config config;
  Dataset training, validation;

  SmallRun() {
    SynthOptions options;
    options.images = 12, options.width = 72, options.height = 64, options.max_objects = 2;
    options.max_size = 40;
    make_synthetic(dir.path() / "data", options);
    config = load_config(test::source_dir() / "tests/e2e/tiny.toml");
    config.train.steps = 6;
    config.train.validate_every = 1;
    training = open_training({(dir.path() / "data").string()}, config, false);
    validation = open_validation({{(dir.path() / "data").string()}, {}}, config, training, false);
  }

  RunFolder train(const std::string& name) {
    const RunFolder folder(dir.path() / name);
    TrainRun run(config, training, &validation, folder);
    folder.create();
    write_file(folder.config(), std::string_view(to_toml(config)));
    CHECK(run.run());
    return folder;
  }
};

}  // namespace

TEST_CASE("data card: pictures, objects by class and size, the hash; and its section") {
  const test::TempDir dir;
  const RunFolder folder(dir.path());
  const Dataset set = two_pictures();
  AnchorCoverage coverage;
  coverage.classes.resize(2);
  coverage.classes[0].objects = coverage.all.objects = 4;
  coverage.classes[0].at_least_50 = coverage.all.at_least_50 = 3;
  const std::string text =
      data_card({{"train", {"/data/a b"}, &set}, {"val", {"v"}, &set}}, &coverage);
  const auto card = json::parse(text);
  const json& split = card["splits"][0];
  CHECK(split["images"] == 2);
  CHECK(split["images_without_objects"] == 1);
  CHECK(split["objects"] == 3);
  CHECK(split["difficult"] == 1);
  CHECK(split["crowds"] == 1);
  CHECK(split["width"] == json({640, 1200}));
  CHECK(split["sizes"] == json({1, 0, 0, 1, 0, 0, 1}));  // sides 10, 100 and 735
  CHECK(split["classes"][1]["sizes"] == json({0, 0, 0, 0, 0, 0, 1}));
  CHECK(split["fingerprint"].get<std::string>().size() >= 8);
  CHECK(split["fingerprint"] == card["splits"][1]["fingerprint"]);
  Dataset other = set;
  other.images[0].objects[0].box.x2 = 11;
  CHECK(json::parse(data_card({{"train", {}, &other}}, nullptr))["splits"][0]["fingerprint"] !=
        split["fingerprint"]);

  write_file(folder.dataset(), std::string_view(text));
  const std::string html = data_section(folder);
  for (const char* part : {"/data/a b", "640 to 1,200", "&lt;dog&gt;", "&gt;= 512", "75.0 %",
                           "crowd regions", "class='bars'"})
    CHECK_THAT(html, test::mentions(part));
  CHECK(html.find("<dog>") == std::string::npos);
  write_file(folder.dataset(), std::string_view("{\"splits\": 3}"));
  CHECK_THROWS_WITH(data_section(folder), test::mentions("dataset.json: "));
}

TEST_CASE("sessions: each time of a run is an entry, and the sections add them up") {
  const test::TempDir dir;
  const RunFolder folder(dir.path());
  {
    RunSession session(folder, Device{}, 0);
    Preflight found;
    found.memory.weights = 3000000, found.memory.activations = 7000000;
    found.height = 600, found.width = 1000;
    session.predict(found);
    session.time(RunPart::forward, [] {});
    session.add_images(50);
    session.end_peak(false);
    session.write(10);
    session.write(20);  // the same entry, further
  }
  auto sessions = json::parse(read_text(folder.sessions()))["sessions"];
  REQUIRE(sessions.size() == 1);
  CHECK(sessions[0]["last_step"] == 20);
  CHECK(sessions[0]["memory"]["process"].get<int64_t>() > 1 << 20);
  CHECK(sessions[0]["environment"].contains("compiler"));
  // Numbers that a page can be checked by; killed at step 20, its last checkpoint was of step 12.
  sessions[0]["begin"] = "2026-01-02T03:04:05Z";
  sessions[0]["seconds"] = 100;
  sessions[0]["parts"] = {{"data", 5}, {"forward", 20}, {"backward", 25}, {"validation", 30}};
  sessions[0]["environment"] = {{"threads", "16"}, {"commit", "<abc>"}};
  write_file(folder.sessions(), std::string_view(json{{"sessions", sessions}}.dump()));
  RunSession(folder, Device{}, 12).write(15);
  sessions = json::parse(read_text(folder.sessions()))["sessions"];
  REQUIRE(sessions.size() == 2);
  CHECK(sessions[0]["last_step"] == 12);
  CHECK(sessions[1]["first_step"] == 12);

  const std::string times = time_section(folder, {});
  for (const char* part : {"1 min 40 s", "1.00", "10.0 %", "500.00 ms", "&lt;abc&gt;", "0 to 12"})
    CHECK_THAT(times, test::mentions(part));
  CHECK_THAT(memory_section(folder), test::mentions("600 x 1000"));
  CHECK_THAT(memory_section(folder), test::mentions("10.0 MB"));
  CHECK_THAT(environment_section(folder), test::mentions("earlier 16"));
  for (const std::string& html : {times, memory_section(folder), environment_section(folder)}) {
    CHECK(html.find("<abc>") == std::string::npos);
    CHECK(html.find("nan") == std::string::npos);
  }
  write_file(folder.sessions(), std::string_view("[]"));
  CHECK_THROWS_WITH(time_section(folder, {}), test::mentions("sessions.json: "));
}

TEST_CASE("commands of a report are words that a shell takes as they are meant") {
  const test::TempDir dir;
  const RunFolder folder(dir.path() / "it's a run");
  folder.create();
  write_file(folder.info(), std::string_view(R"({"data": ["/a", "/b c"], "val_data": "/v"})"));
  Config config;
  config.data.val_split = "val";
  const std::string html = command_section(folder, config);
  CHECK_THAT(html, test::mentions("--data /a \\\n    --data &#39;/b c&#39; \\\n    --val-data /v"));
  CHECK_THAT(html, test::mentions("/it&#39;\\&#39;&#39;s a run/config.toml&#39; \\\n    --data"));
  CHECK_THAT(html, test::mentions("--split val \\\n    --metrics all"));
}

TEST_CASE("a run of an early version has a report, and says what it does not know") {
  const test::TempDir dir;
  const RunFolder folder(dir.path());
  write_file(folder.config(), std::string_view(to_toml(Config())));
  write_file(folder.log(), std::string_view("step,epoch,loss\n1,0.5,2.25\n2,1,2\n"));
  write_file(folder.metrics(), std::string_view(R"({"validations": []})"));
  const std::string html = report_html(folder);
  CHECK_THAT(html, test::mentions("dataset.json is missing"));
  CHECK_THAT(html, test::mentions("sessions.json is missing"));
  CHECK_THAT(html, test::mentions("<a href='#s1'>Accuracy</a>"));
  CHECK(html.find("http") == std::string::npos);  // nothing is fetched
}

TEST_CASE("the loss of the validation set: in every log, and the training is the same without it") {
  SmallRun small;
  const RunFolder with = small.train("with");
  small.config.train.validation_loss = false;
  const RunFolder without = small.train("without");
  CHECK(state_md5(load_checkpoint(with.model())) == state_md5(load_checkpoint(without.model())));

  const auto validations = json::parse(read_text(with.metrics()))["validations"];
  REQUIRE(validations.size() >= 2);
  const LogTable table = read_log(with.validations());
  REQUIRE(table.find("loss"));
  CHECK(table.find("loss")->size() == validations.size());
  double sum = 0;
  for (const char* part : {"rpn_class", "roi_class", "roi_box"})
    sum += validations[0]["losses"][part].get<double>();
  sum += small.config.model.rpn.lambda * validations[0]["losses"]["rpn_box"].get<double>();
  CHECK(validations[0]["losses"]["total"].get<double>() == Approx(sum));
  CHECK(table.find("loss")->at(0) == Approx(sum).epsilon(1e-5));
  CHECK(table.find("map_area")->at(0) ==
        Approx(validations[0]["map_area"].get<double>()).margin(1e-6));
  size_t lines = 0;
  std::stringstream text(read_text(with.json_lines()));
  for (std::string line; std::getline(text, line);)
    lines += json::parse(line).contains("validation_loss");
  CHECK(lines == validations.size());
  CHECK(!json::parse(read_text(without.metrics()))["validations"][0].contains("losses"));

  // The loss of the last validation is that of the model that was saved, whenever it is asked for.
  CHECK_THAT(read_text(with.report()), test::mentions("Losses of the validation split"));
  CHECK(read_text(without.report()).find("Losses of the validation split") == std::string::npos);
  CHECK_THAT(read_text(with.report()), test::mentions("validations</td>"));
}

TEST_CASE("validations as a table: empty cells where there is no number") {
  const test::TempDir dir;
  MetricsFile metrics(dir.path() / "metrics.json");
  StepStats losses;
  losses.total = 1.5, losses.rpn_class = 0.25;
  EvaluationResult result;
  result.map_area = 0.5, result.map_11point = 0.625;
  metrics.add(20, 2, "val", 3, result);
  ProposalRecall recall;
  RecallAt at;
  at.recall50 = 0.75, at.recall70 = 0.5;
  recall.at = {at};
  metrics.add_recall(10, 1, "val", 3, "rpn", recall, losses);
  CHECK(read_text(dir.path() / "validation.csv") ==
        "step,epoch,loss,loss_rpn_class,loss_rpn_box,loss_roi_class,loss_roi_box,map_area,"
        "map_voc07_11point,recall_50,recall_70\n"
        "10,1,1.5,0.25,0,0,0,,,0.75,0.5\n"
        "20,2,,,,,,0.5,0.625,,\n");
}
