#include <nlohmann/json.hpp>

#include "apps/evaluation_file.h"
#include "apps/report_sections.h"
#include "data/files.h"
#include "data/image.h"
#include "kernels/launch/check.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::apps;

namespace {

/// `pictures` pictures with a cat and a dog each, of which the detections find less and less.
Dataset write_set(const std::filesystem::path& folder, int pictures) {
  Dataset set;
  set.class_names = {"cat", "<dog>"};
  for (int i = 0; i < pictures; ++i) {
    ImageRecord& image = set.images.emplace_back();
    image.id = "p" + std::to_string(i);
    image.path = folder / (image.id + ".png");
    image.width = 1000, image.height = 40;
    write_image(Image(1000, 40, 99), image.path);
    Object cat, dog;
    cat.box = {0, 0, 30, 30};
    dog.box = {50, 5, 80, 35}, dog.label = 1;
    image.objects = {cat, dog};
  }
  return set;
}

}  // namespace

TEST_CASE("evaluation of a run: file, pictures and sections of the report") {
  const test::TempDir dir;
  const Dataset set = write_set(dir.path(), 3);
  const std::vector<Detection> found = {{0, 0, 0.9F, {0, 0, 30, 30}},
                                        {0, 1, 0.8F, {50, 5, 80, 35}},
                                        {1, 0, 0.7F, {0, 0, 30, 30}},
                                        {2, 1, 0.6F, {100, 0, 130, 30}}};
  const RunFolder folder(dir.path() / "run");
  CHECK(evaluation_sections(folder).empty());
  CHECK(picture_section(folder).empty());
  write_run_evaluation(folder, 12, "val", set, found, evaluate_voc(set, found));
  const auto json = nlohmann::json::parse(read_text(folder.evaluation()));
  CHECK(json["step"] == 12);
  CHECK(json["images"] == 3);
  REQUIRE(json["pictures"].size() == 3);  // no picture twice
  CHECK(json["pictures"][0]["kind"] == "worst");
  CHECK(json["pictures"][0]["id"] == "p2");
  CHECK(json["pictures"][0]["missed"] == 2);
  CHECK(json["pictures"][0]["objects"][0]["state"] == "missed");
  CHECK(json["pictures"][0]["detections"][0]["right"] == false);
  CHECK(json["pictures"][1]["id"] == "p1");
  CHECK(json["pictures"][2]["id"] == "p0");
  CHECK(json["pictures"][2]["kind"] == "best");
  // The copy of the picture is small enough for a page.
  CHECK(decode_image(folder.pictures() / json["pictures"][0]["file"].get<std::string>()).width ==
        800);

  const std::string sections = evaluation_sections(folder);
  for (const char* part : {"COCO metric", "Precision and recall", "Error shares",
                           "Confusion matrix", "Calibration", "&lt;dog&gt;"})
    CHECK_THAT(sections, test::mentions(part));
  const std::string pictures = picture_section(folder);
  CHECK_THAT(pictures, test::mentions("data:image/jpeg;base64,"));
  CHECK_THAT(pictures, test::mentions("&lt;dog&gt; 0.60"));
  CHECK(sections.find("nan") == std::string::npos);
  for (const std::string& html : {sections, pictures})
    CHECK(html.find("<dog>") == std::string::npos);
  remove_run_evaluation(folder);
  CHECK(!std::filesystem::exists(folder.evaluation()));
  CHECK(!std::filesystem::exists(folder.pictures()));
}

TEST_CASE("evaluation of a run: nothing detected, and a broken file") {
  const test::TempDir dir;
  const Dataset set = write_set(dir.path(), 2);
  const RunFolder folder(dir.path() / "run");
  write_run_evaluation(folder, 1, "val", set, {}, evaluate_voc(set, {}));
  CHECK(evaluation_sections(folder).find("nan") == std::string::npos);
  CHECK_THAT(picture_section(folder), test::mentions("0 right, 0 wrong, 2 missed"));
  write_file(folder.evaluation(), std::string_view("{"));
  CHECK_THROWS_WITH(evaluation_sections(folder), test::mentions("evaluation.json: "));
  CHECK_THROWS_WITH(picture_section(folder), test::mentions("evaluation.json: "));
}
