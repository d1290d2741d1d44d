#include "data/detections_io.h"

#include "tests/data/voc_maker.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;
namespace fs = std::filesystem;

namespace {

Dataset two_pictures() {
  Dataset set;
  set.name = "set";
  set.class_names = {"cat", "big \"dog\""};
  set.images.push_back({"000007", "x/000007.jpg", 100, 80, {}, ""});
  set.images.push_back({"b_2", "x/b_2.png", 100, 80, {}, ""});
  return set;
}

std::vector<Detection> some_detections() {
  std::vector<Detection> detections;
  const std::vector<float> values = random_vector<float>(60, 0, 50, 3);
  for (size_t i = 0; i + 5 <= values.size(); i += 5) {
    const float* v = &values[i];
    detections.push_back({static_cast<int64_t>(i / 5 % 2),
                          static_cast<int>(i / 5 % 3 == 0),
                          v[4] / 50,
                          {v[0], v[1], v[0] + v[2], v[1] + v[3]}});
  }
  return detections;
}

void check_same(const std::vector<Detection>& a, const std::vector<Detection>& b) {
  REQUIRE(a.size() == b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    CHECK(a[i].image == b[i].image);
    CHECK(a[i].label == b[i].label);
    CHECK(a[i].score == b[i].score);
    CHECK(a[i].box.x1 == b[i].box.x1);
    CHECK(a[i].box.y2 == Approx(b[i].box.y2).epsilon(1e-7));
    CHECK(a[i].box.x2 == Approx(b[i].box.x2).epsilon(1e-7));
  }
}

}  // namespace

TEST_CASE("Detections: COCO results JSON round trip") {
  TempDir temp;
  const Dataset set = two_pictures();
  write_detections_json(temp.path() / "d.json", set, some_detections());
  check_same(read_detections(temp.path() / "d.json", set), some_detections());
  CHECK(detections_to_json(set, {}) == "[\n]\n");
  write_detections_json(temp.path() / "d.json", set, {});
  CHECK(read_detections(temp.path() / "d.json", set).empty());
  const std::string line = detections_to_json(set, {{0, 1, 0.25f, {1, 2, 4, 6.5f}}});
  CHECK(line ==
        "[\n  {\"image_id\": \"000007\", \"category_id\": 2, \"category_name\": \"big "
        "\\\"dog\\\"\", \"bbox\": [1, 2, 3, 4.5], \"score\": 0.25}\n]\n");
}

TEST_CASE("Detections: JSON of other programs") {
  TempDir temp;
  write_file(temp.path() / "d.json",
             R"([{"image_id": 7, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.5},
                 {"image_id": "b_2.png", "category_name": "cat", "bbox": [1, 2, 3, 4], "score": 1}])");
  const auto found = read_detections_json(temp.path() / "d.json", two_pictures());
  REQUIRE(found.size() == 2);
  CHECK(found[0].image == 0);
  CHECK(found[0].label == 1);
  CHECK(found[0].box == Box{1, 2, 4, 6});
  CHECK(found[1].image == 1);
}

TEST_CASE("Bad input: detections JSON") {
  TempDir temp;
  const auto message = [&](const std::string& text) {
    write_file(temp.path() / "d.json", text);
    return error_of([&] { read_detections_json(temp.path() / "d.json", two_pictures()); });
  };
  const std::string good = R"({"image_id": 7, "category_id": 1, "bbox": [1,2,3,4], "score": 0.5})";
  CHECK(message("[" + good + "]").empty());
  CHECK(contains(message("[\n{]"), "d.json:2: malformed JSON"));
  CHECK(contains(message(""), "d.json:1: malformed JSON"));
  CHECK(contains(message("{}"), "expected an array of detections, found object"));
  CHECK(contains(message("[1]"), "d.json: detection 1: expected an object, found number"));
  CHECK(contains(message("[" + good + R"(,{"image_id": "x", "score": 1, "bbox": [1,2,3,4]}])"),
                 "detection 2: image_id \"x\" is no picture of set"));
  CHECK(contains(message(R"([{"image_id": 7, "category_id": 9, "score": 1, "bbox": [1,2,3,4]}])"),
                 "expected category_id of 1 to 2, found 9"));
  CHECK(contains(
      message(R"([{"image_id": 7, "category_name": "owl", "score": 1, "bbox": [1,2,3,4]}])"),
      "category_name \"owl\" is not one of cat, big"));
  CHECK(contains(message(R"([{"image_id": 7, "category_id": 1, "bbox": [1,2,3,4]}])"),
                 "expected a number as 'score', found null"));
  CHECK(contains(message(R"([{"image_id": 7, "category_id": 1, "score": 1, "bbox": [1,2,3]}])"),
                 "expected 'bbox' of 4 numbers"));
  CHECK(contains(message(R"([{"image_id": 7, "category_id": 1, "score": 1, "bbox": [1,2,-3,4]}])"),
                 "width and height of at least 0"));
  CHECK(contains(error_of([&] { read_detections(temp.path() / "none", two_pictures()); }),
                 "detections do not exist"));
}

TEST_CASE("Detections: text round trip, one file per picture") {
  TempDir temp;
  const Dataset set = two_pictures();
  const std::vector<Detection> all = some_detections();
  write_detections_text(temp.path() / "out", set, all);
  std::vector<Detection> expected;  // by picture, then in the order given
  for (const int64_t image : {0, 1})
    for (const Detection& d : all)
      if (d.image == image) expected.push_back(d);
  check_same(read_detections(temp.path() / "out", set), expected);
  write_detections_text(temp.path() / "none", set, {});
  CHECK(fs::exists(temp.path() / "none/b_2.txt"));
  CHECK(read_detections(temp.path() / "none", set).empty());
}

TEST_CASE("Bad input: text of ground truth and detections") {
  TempDir temp;
  const fs::path truth = temp.path() / "truth", found = temp.path() / "found";
  fs::create_directories(truth);
  fs::create_directories(found);
  CHECK(contains(error_of([&] { read_truth_text(truth); }),
                 "expected files <picture>.txt, found none"));
  write_file(truth / "a.txt", "cat 1 2 3 4\n\ndog 1 2 3 4 1\n");
  const Dataset set = read_truth_text(truth);
  REQUIRE(set.images.size() == 1);
  REQUIRE(set.images[0].objects.size() == 2);
  CHECK(set.images[0].objects[0].box == Box{1, 2, 4, 6});
  CHECK(set.images[0].objects[1].difficult);
  CHECK(set.images[0].objects[1].line == 3);
  const auto message = [&](const std::string& text) {
    write_file(found / "a.txt", text);
    return error_of([&] { read_detections_text(found, set); });
  };
  CHECK(message("cat .5 1 2 3 4\r\n").empty());
  CHECK(contains(message("cat .5 1 2 3 4\ncat 1 2 3 4\n"),
                 "a.txt:2: expected 'class score left top width height', found 'cat 1 2 3 4'"));
  CHECK(contains(message("cat x 1 2 3 4"), "a.txt:1: expected 'class score"));
  CHECK(contains(message("cat nan 1 2 3 4"), "a.txt:1: expected 'class score"));
  CHECK(contains(message("owl .5 1 2 3 4"), "a.txt:1: class 'owl' is not one of cat, dog"));
  CHECK(contains(message("cat .5 1 2 -3 4"), "a.txt:1: expected a width and height"));
  CHECK(message("").empty());
  write_file(found / "z.txt", "");
  CHECK(contains(message(""), "z.txt: 'z' is no picture of"));
}
