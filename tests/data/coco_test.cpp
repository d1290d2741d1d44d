#include "data/coco.h"

#include <cmath>

#include "data/json_stream.h"
#include "tests/data/voc_maker.h"
#include "tests/support/catch.h"
#include "tests/support/support.h"

namespace frcnn {
namespace {

namespace fs = std::filesystem;
using test::contains;
using test::error_of;

constexpr const char* kCategories =
    R"("categories": [{"id": 90, "name": "cat"}, {"name": "dog", "id": 0}])";

/// A folder in COCO layout: train/a.png and train/b.png of 64x48.
class CocoMaker {
 public:
  CocoMaker() {
    fs::create_directories(temp_.path() / "annotations");
    fs::create_directories(temp_.path() / "train");
    for (const char* name : {"a.png", "b.png"})
      write_image(Image(64, 48, 90), temp_.path() / "train" / name);
  }
  fs::path file() const { return temp_.path() / "annotations/instances_train.json"; }
  const fs::path& root() const { return temp_.path(); }

  /// `annotations` begin at line 5.
  Dataset read(const std::string& annotations, const ReadOptions& options = {},
               const std::string& categories = kCategories) const {
    write_file(file(), fmt::format(R"({{"info": {{"x": [1, "]}}\"", {{}}]}},
"images": [{{"id": 0, "file_name": "a.png", "width": 64, "height": 48}},
 {{"id": 7, "file_name": "b.png", "width": 64, "height": 48}}],
"annotations": [
{}], {}}}
)",
                                   annotations, categories));
    return read_coco(file(), options);
  }

 private:
  test::TempDir temp_;
};

std::vector<std::string> lines(const Dataset& dataset) {
  std::vector<std::string> out;
  for (const Finding& finding : dataset.findings) out.push_back(to_string(finding));
  return out;
}

TEST_CASE("A21 COCO reader: boxes, sparse ids from 0, crowds, areas, pictures without objects") {
  const CocoMaker coco;
  const Dataset set = coco.read(
      R"({"id": 1, "image_id": 0, "category_id": 90, "bbox": [1.5, 2, 10, 20.25], "area": 150.5,
 "segmentation": [[1, 2, 3, 4, 5, 6]], "iscrowd": 0},
{"category_id": 0, "bbox": [0, 0, 64, 48], "image_id": 0, "iscrowd": 1, "id": 2,
 "segmentation": {"counts": [1, 2], "size": [48, 64]}},
{"id": 3, "image_id": 0, "category_id": 90.0, "bbox": [5, 5, 6, 7], "ignore": 1,
 "attributes": {"truncated": true, "occluded": "no"}})");
  CHECK(lines(set).empty());
  CHECK(set.class_names == std::vector<std::string>{"dog", "cat"});  // by id
  CHECK(set.category_ids == std::vector<int64_t>{0, 90});
  REQUIRE(set.images.size() == 2);
  CHECK(set.images[0].number == 0);
  CHECK(set.images[0].id == "a");
  CHECK(set.images[0].path == fs::absolute(coco.root() / "train/a.png"));
  CHECK(set.images[1].number == 7);
  CHECK(set.images[1].objects.empty());
  REQUIRE(set.images[0].objects.size() == 3);
  const auto& objects = set.images[0].objects;
  CHECK((objects[0].box == Box{1.5f, 2, 11.5f, 22.25f}));
  CHECK(objects[0].label == 1);
  CHECK(objects[0].area == 150.5);
  CHECK(objects[0].line == 5);
  CHECK(!objects[0].crowd);
  CHECK((objects[1].box == Box{0, 0, 64, 48}));
  CHECK(objects[1].label == 0);
  CHECK(objects[1].crowd);
  CHECK(objects[1].area == -1);
  CHECK(objects[1].line == 7);
  CHECK(objects[2].difficult);
  CHECK(objects[2].truncated);
}

TEST_CASE("A21 COCO reader: defects of boxes and references are found with line and id") {
  const CocoMaker coco;
  const Dataset set = coco.read(
      R"({"id": 1, "image_id": 0, "category_id": 90, "bbox": [1, 2, 0, 20]},
{"id": 2, "image_id": 5, "category_id": 90, "bbox": [1, 2, 3, 4]},
{"id": 3, "image_id": 0, "category_id": 4, "bbox": [1, 2, 3, 4]},
{"id": 4, "image_id": 7, "category_id": 90, "bbox": [60, 2, 30, 4]},
{"id": 5, "image_id": 7, "category_id": 90, "bbox": [60, 2, 6, 4]},
{"id": 5, "image_id": 7, "category_id": 90, "bbox": [54, 2, 10.015, 4]},
{"id": 7, "image_id": 7, "category_id": 90, "bbox": [54, 2, -3, 4]})");
  const std::string file = coco.file().string();
  CHECK(
      lines(set) ==
      std::vector<std::string>{
          file + ":5: left out: annotation 1: 'cat' (1, 2, 1, 22) has no area",
          file + ":6: left out: annotation 2 has image_id 5, which is no picture of the file",
          file + ":7: left out: annotation 3 has category_id 4, which is none of the 2 categories",
          file + ":8: left out: annotation 4: 'cat' (60, 2, 90, 6) lies mostly outside the "
                 "picture (64x48)",
          file + ":9: repaired: annotation 5: 'cat' (60, 2, 66, 6) sticks out of the picture "
                 "(64x48) and is clipped to it",
          file + ":10: annotation id 5 is used a second time; both are read",
          file + ":11: left out: annotation 7 'cat' has a negative width or height (-3, 4)"});
  REQUIRE(set.images[1].objects.size() == 2);
  CHECK((set.images[1].objects[0].box == Box{60, 2, 64, 6}));
  CHECK((set.images[1].objects[1].box == Box{54, 2, 64, 6}));  // rounding of the writer
}

TEST_CASE("A21 COCO reader: unusable entries are collected and thrown as one error") {
  const CocoMaker coco;
  const std::string annotations = R"({"id": 1, "image_id": 0, "bbox": [1, 2, 3, 4]},
{"id": 2, "image_id": "a", "category_id": 90, "bbox": [1, 2, 3, 4]},
{"id": 3, "image_id": 0, "category_id": 90, "bbox": [1, 2, 3]},
{"id": 4, "image_id": 0, "category_id": 90, "bbox": [1, 2, null, 4]},
{"id": 5, "image_id": 0, "category_id": 90, "bbox": [1, 2, 3, 4}},
{"id": 6, "image_id": 0, "category_id": 90, "bbox": [1, 2, 3, 4], "iscrowd": 2},
17)";
  const std::string message = error_of([&] { coco.read(annotations); });
  CHECK(message == coco.file().string() +
                       ":5: annotations[0]: expected member 'category_id', found none (and 6 more "
                       "errors)");
  ReadOptions lenient;
  lenient.lenient = true;
  const Dataset set = coco.read(annotations, lenient);
  REQUIRE(set.findings.size() == 7);
  const auto said = lines(set);
  CHECK(contains(said[1], ":6: annotations[1]: expected an integer as 'image_id', found \"a\""));
  CHECK(contains(said[2],
                 ":7: annotations[2]: expected 4 numbers [x, y, width, height] as 'bbox', "
                 "found 3"));
  CHECK(contains(said[3], ":8: annotations[3]: expected a finite number as 'bbox', found null"));
  CHECK(contains(said[4], ":9: annotations[4]: malformed JSON"));
  CHECK(contains(said[5], ":10: annotations[5]: expected 0 or 1 as 'iscrowd', found 2"));
  CHECK(contains(said[6], ":11: annotations[6]: expected an object, found 17"));
  for (const Finding& finding : set.findings) CHECK(finding.kind == FindingKind::error);
}

TEST_CASE("A21 COCO reader: malformed and foreign files") {
  const test::TempDir temp;
  const fs::path file = temp.path() / "x.json";
  const auto refusal = [&](const std::string& text) {
    write_file(file, text);
    return error_of([&] { read_coco(file, {}); }).substr(file.string().size());
  };
  CHECK(refusal("") == ":1: expected a JSON object, found an empty file");
  CHECK(refusal("[{\"image_id\": 1}]") == ":1: expected a JSON object, found '['");
  CHECK(refusal("{\"images\": [], \n\"a\": 1}") ==
        ": expected a COCO file with a list 'categories', found none");
  CHECK(refusal("{\"info\": {}}") == ": expected a COCO file with a list 'images', found none");
  CHECK(refusal("{\"images\": 3}") == ": expected a list as 'images', found another value");
  CHECK(refusal("{\n\"images\": [{},\n {\"id\": \"]") ==
        ":3: malformed JSON: expected the end of a string, found the end of the file: is it cut "
        "short?");
  CHECK(refusal("{\n\"images\": [{}\n {}]}") ==
        ":3: malformed JSON: expected ',' or ']' behind an element, found '{'");
  CHECK(refusal("{\"a\": 1} x") ==
        ":1: malformed JSON: expected nothing behind the outermost '}', found 'x'");
  CHECK(refusal("{\"a\": , \"b\": 1}") == ":1: malformed JSON: expected a value, found ','");
  CHECK(refusal("{\"images\": [], \"categories\": []}") ==
        ": expected pictures in 'images', found none");
}

TEST_CASE("A21 COCO reader: classes are renamed, chosen and counted when they are left out") {
  const CocoMaker coco;
  const std::string annotations =
      R"({"id": 1, "image_id": 0, "category_id": 90, "bbox": [1, 2, 3, 4]},
{"id": 2, "image_id": 0, "category_id": 0, "bbox": [1, 2, 3, 4]},
{"id": 3, "image_id": 7, "category_id": 0, "bbox": [1, 2, 3, 4]})";
  ReadOptions options;
  options.classes.rename = {{"dog", "cat"}};
  Dataset set = coco.read(annotations, options);
  CHECK(set.class_names == std::vector<std::string>{"cat"});
  CHECK(set.category_ids == std::vector<int64_t>{0});
  CHECK(set.images[0].objects.size() == 2);
  options.classes.rename.clear();
  options.classes.keep = {"bird", "cat"};
  set = coco.read(annotations, options);
  CHECK(set.class_names == options.classes.keep);
  CHECK(set.category_ids.empty());  // the file knows no bird
  REQUIRE(set.findings.size() == 2);
  CHECK(contains(lines(set)[0],
                 ":6: left out: 2 objects of class 'dog', which is not one of the 2 "
                 "wanted (bird, cat)"));
  CHECK(contains(lines(set)[1], "class 'bird' is wanted, but is no class of"));
  CHECK(set.images[0].objects.at(0).label == 1);
}

TEST_CASE("A21 COCO reader: missing pictures are an error unless they are not wanted") {
  const CocoMaker coco;
  fs::remove(coco.root() / "train/b.png");
  CHECK(contains(
      error_of([&] { coco.read(""); }),
      ":3: picture " + (coco.root() / "train/b.png").string() + " of image id 7 does not exist"));
  fs::remove(coco.root() / "train/a.png");
  CHECK(contains(error_of([&] { coco.read(""); }), "picture a.png is in none of these folders: "));
  ReadOptions options;
  options.pictures = false;
  const Dataset set = coco.read("", options);
  CHECK(set.images.size() == 2);
  CHECK(set.images[1].width == 64);
}

TEST_CASE("A21 COCO reader: splits of a folder") {
  const CocoMaker coco;
  coco.read("");
  const auto names = [&] {
    std::string text;
    for (const CocoSplit& split : coco_splits(coco.root())) text += split.name + " ";
    return text;
  };
  write_file(coco.root() / "annotations/captions_train.json", "{}");
  write_file(coco.root() / "annotations/other.json", "{}");
  CHECK(names() == "train ");
  fs::remove(coco.file());
  CHECK(names() == "other ");
  fs::create_directories(coco.root() / "valid");
  write_file(coco.root() / "valid/_annotations.coco.json", "{}");
  CHECK(names() == "other valid ");
}

TEST_CASE("JSON stream: values across the borders of its window") {
  const test::TempDir temp;
  const fs::path file = temp.path() / "x.json";
  std::string text = "{\"skip\": \"" + std::string(3'000'000, 'x') + "\\\\\\\"\", \"list\": [";
  for (int i = 0; i < 200'000; ++i)
    text += fmt::format("{}{{\"i\": {}, \"s\": \"}}]\\\"\"}}", i == 0 ? "" : ",\n", i);
  text += ", \"" + std::string(2'500'000, 'y') + "\", -1.5e3 ] }";
  write_file(file, text);
  JsonStream stream(file);
  REQUIRE(stream.next_key() == "skip");
  stream.skip_value();
  REQUIRE(stream.next_key() == "list");
  REQUIRE(stream.enter_array());
  for (int i = 0; i < 200'000; ++i) {
    const auto element = stream.next_element();
    if (!element || element->text != fmt::format("{{\"i\": {}, \"s\": \"}}]\\\"\"}}", i) ||
        element->line != i + 1 ||
        text.compare(static_cast<size_t>(element->offset), 6, "{\"i\": ") != 0)
      FAIL("element " << i);
  }
  CHECK(stream.next_element()->text.size() == 2'500'002);
  CHECK(stream.next_element()->text == "-1.5e3 ");
  CHECK(!stream.next_element());
  CHECK(!stream.next_key());
}

TEST_CASE("A21 COCO and VOC readers agree on real pictures that both describe") {
  FRCNN_REQUIRE_REAL_DATA(data);
  const fs::path root = data / "voc2012_sample";
  // Both files give xmin, ymin and xmax - xmin, ymax - ymin of the XML as they are.
  VocOptions voc;
  voc.root = root, voc.coordinates = VocCoordinates::edges;
  const Dataset expected = read_voc(voc);
  std::map<std::string, std::vector<std::string>> objects;
  const auto text = [](const Dataset& set, const Object& o) {
    return fmt::format("{} {} {} {} {}", set.class_names[static_cast<size_t>(o.label)], o.box.x1,
                       o.box.y1, o.box.x2, o.box.y2);
  };
  for (const ImageRecord& image : expected.images)
    for (const Object& o : image.objects) objects[image.id].push_back(text(expected, o));
  for (const char* name : {"instances_default.json", "instances_v2.json"}) {
    INFO(name);
    const Dataset set = read_coco(root / "coco" / name, {});
    CHECK(set.images.size() == 100);
    CHECK(set.class_names.size() == 20);
    size_t count = 0;
    for (const ImageRecord& image : set.images) {
      std::vector<std::string> found, wanted = objects[image.id];
      for (const Object& o : image.objects) found.push_back(text(set, o));
      std::sort(found.begin(), found.end());
      std::sort(wanted.begin(), wanted.end());
      CHECK(found == wanted);
      count += found.size();
    }
    CHECK(count == 273);
  }
}

}  // namespace
}  // namespace frcnn
