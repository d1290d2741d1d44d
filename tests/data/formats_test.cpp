#include "data/formats.h"

#include "data/csv.h"
#include "data/splits.h"
#include "tests/data/small_sets.h"
#include "tests/data/voc_maker.h"
#include "tests/support/catch.h"
#include "tests/support/support.h"

namespace frcnn {
namespace {

namespace fs = std::filesystem;
using test::contains;
using test::error_of;
using test::write_grey;

TEST_CASE("A21 CSV reader: header in any order, quotes, pictures without objects") {
  const test::TempDir temp;
  write_grey(temp.path() / "a, b.png");
  write_grey(temp.path() / "images/c.png");
  const fs::path file = temp.path() / "train.csv";
  write_file(file,
             "class,filename,xmin,ymin,xmax,ymax,difficult,note\r\n"
             "\"big \"\"cat\"\"\",\"a, b.png\",1,2.5,10,20,1,x\r\n"
             "dog,\"a, b.png\",0,0,64,48,0,\"two\nlines\"\n"
             ",c.png,,,,,,\n"
             "dog,\"a, b.png\",10,20,5,30,,\n");
  const Dataset set = read_csv(file, {});
  CHECK(set.class_names == std::vector<std::string>{"big \"cat\"", "dog"});
  REQUIRE(set.images.size() == 2);
  CHECK(set.images[1].objects.empty());
  REQUIRE(set.images[0].objects.size() == 3);
  CHECK((set.images[0].objects[0].box == Box{1, 2.5f, 10, 20}));
  CHECK(set.images[0].objects[0].difficult);
  CHECK((set.images[0].objects[2].box == Box{5, 20, 10, 30}));
  CHECK(set.images[0].objects[2].line == 6);
  REQUIRE(set.findings.size() == 2);
  CHECK(contains(set.findings[0].message, "coordinates are read as positions of edges"));
  CHECK(to_string(set.findings[1]) ==
        file.string() + ":6: repaired: 'dog' (10, 20, 5, 30) has its corners swapped");
  const Dataset pixels = read_csv(file, {}, VocCoordinates::one_based);
  CHECK((pixels.images[0].objects[0].box == Box{0, 1.5f, 10, 20}));
}

TEST_CASE("A21 CSV reader: lines without header, broken lines") {
  const test::TempDir temp;
  write_grey(temp.path() / "a.png");
  write_grey(temp.path() / "b.png");
  const fs::path file = temp.path() / "train.csv";
  write_file(file, "a.png,1,2,3,4,cat\nb.png,,,,,\n");
  const Dataset set = read_csv(file, {});
  REQUIRE(set.images.size() == 2);
  CHECK((set.images[0].objects.at(0).box == Box{1, 2, 3, 4}));
  CHECK(set.images[0].objects[0].line == 1);
  write_file(file, "a.png,1,2,3,4,cat\na.png,1,2,3,cat\nc.png,1,2,3,4,cat\n,1,2,3,4,cat\n");
  CHECK(error_of([&] { read_csv(file, {}); }) ==
        file.string() +
            ":2: expected 4 numbers and a class (or none of them), found "
            "'a.png,1,2,3,cat' (and 2 more errors)");
  write_file(file, "file,x,y,w,h,kind\na.png,1,2,3,4,cat\n");
  CHECK(contains(error_of([&] { read_csv(file, {}); }), ":1: expected a header with the columns"));
  write_file(file, "\n\n");
  CHECK(contains(error_of([&] { read_csv(file, {}); }), "expected lines path,xmin"));
}

TEST_CASE("formats: each layout is recognised, others are told apart") {
  const test::TempDir temp;
  const fs::path& root = temp.path();
  for (const char* name : {"voc", "coco/annotations", "yolo/labels", "csv", "nested/deep/VOC2007",
                           "other", "roboflow/train"})
    fs::create_directories(root / name);
  fs::create_directories(root / "voc/Annotations");
  fs::create_directories(root / "nested/deep/VOC2007/Annotations");
  write_file(root / "coco/annotations/instances_val2017.json", "{}");
  write_file(root / "roboflow/train/_annotations.coco.json", "{}");
  write_file(root / "yolo/classes.txt", "cat\n");
  write_file(root / "csv/train.csv", "");
  write_file(root / "csv/data.yaml", "train: x\nnames: [a]\n");
  write_file(root / "other/readme.txt", "");
  const auto format = [&](const char* path) {
    return std::string(name_of(recognise_format(root / path)));
  };
  CHECK(format("voc") == "voc");
  CHECK(format("nested") == "voc");
  CHECK(format("coco") == "coco");
  CHECK(format("roboflow") == "coco");
  CHECK(format("coco/annotations/instances_val2017.json") == "coco");
  CHECK(format("yolo") == "yolo");
  CHECK(format("csv/data.yaml") == "yolo");
  fs::remove(root / "csv/data.yaml");
  CHECK(format("csv") == "csv");
  CHECK(format("csv/train.csv") == "csv");
  const std::string message = error_of([&] { recognise_format(root / "other"); });
  for (const char* part : {"Annotations/*.xml", "instances_<split>.json", "data.yaml",
                           "<split>.csv", "found 1 files (readme.txt) and 0 folders"})
    CHECK(contains(message, part));
  CHECK(contains(error_of([&] { recognise_format(root / "nothing"); }), "no such data set"));
  CHECK(contains(error_of([&] { recognise_format(root / "other/readme.txt"); }),
                 "expected a folder"));
}

TEST_CASE("formats: names of splits") {
  const std::vector<std::string> coco = {"train2017", "val2017"}, robo = {"test", "train", "valid"};
  const auto resolve = [](const std::vector<std::string>& names, const std::string& split) {
    std::string text;
    for (const std::string& name : resolve_split(names, split, "set")) text += name + " ";
    return text;
  };
  CHECK(resolve(coco, "train2017") == "train2017 ");
  CHECK(resolve(coco, "train") == "train2017 ");
  CHECK(resolve(coco, "trainval") == "train2017 val2017 ");
  CHECK(resolve(coco, "all") == "train2017 val2017 ");
  CHECK(resolve(robo, "val") == "valid ");
  CHECK(error_of([&] { resolve(coco, "test"); }) ==
        "set: split 'test' does not exist; this set has train2017, val2017, all");
  CHECK(error_of([&] {
          resolve({"train2014", "train2017"}, "train");
        }) == "set: split 'train' does not exist; this set has train2014, train2017, all");
}

Dataset one(const std::string& path, const std::vector<std::string>& classes, int label,
            int64_t number) {
  Dataset set;
  set.class_names = classes;
  ImageRecord image;
  image.path = path, image.id = fs::path(path).stem().string(), image.number = number;
  Object object;
  object.label = label;
  image.objects.push_back(object);
  set.images.push_back(image);
  return set;
}

TEST_CASE("formats: joined sets unite classes by name and keep ids apart") {
  Dataset a = one("x/1.jpg", {"cat", "dog"}, 1, 5), b = one("y/1.jpg", {"bird", "dog"}, 1, 6);
  a.category_ids = {3, 4}, b.category_ids = {1, 4};
  const Dataset joined = join_datasets({a, b}, "both");
  CHECK(joined.class_names == std::vector<std::string>{"cat", "dog", "bird"});
  CHECK(joined.category_ids == std::vector<int64_t>{3, 4, 1});
  CHECK(joined.images[0].id == "1");
  CHECK(joined.images[1].id == "1-2");
  CHECK(joined.images[1].objects[0].label == 1);
  CHECK(joined.images[1].number == 6);
  b.category_ids = {1, 9}, b.images[0].number = 5;
  const Dataset clash = join_datasets({a, b}, "both");
  CHECK(clash.category_ids.empty());
  CHECK(clash.images[0].number == -1);
  CHECK(contains(error_of([&] {
                   join_datasets({a, a}, "twice");
                 }),
                 "picture x/1.jpg is in two of the sets"));
}

}  // namespace
}  // namespace frcnn
