#include "data/yolo.h"

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

void text(const fs::path& path, const std::string& content) {
  fs::create_directories(path.parent_path());
  write_file(path, content);
}

Dataset read(const fs::path& path, const std::string& split = "all",
             const ReadOptions& options = {}) {
  return read_yolo(read_yolo_layout(path), split, options);
}

TEST_CASE("A21 YOLO reader: shares become edges, polygons boxes, missing labels no objects") {
  const test::TempDir temp;
  const fs::path& root = temp.path();
  for (const char* name : {"a", "b", "c"})
    write_grey(root / "images" / (std::string(name) + ".png"));
  text(root / "labels/a.txt", "1 0.5 0.5 0.25 0.5\r\n\n0 0.125 0.25 0.25 0.5 \n");
  text(root / "labels/b.txt", "0 0.25 0.25 0.75 0.25 0.5 0.75\n");
  text(root / "classes.txt", "cat\ndog\n");
  CHECK(is_yolo(root));
  const Dataset set = read(root);
  CHECK(set.class_names == std::vector<std::string>{"cat", "dog"});
  REQUIRE(set.images.size() == 3);
  REQUIRE(set.images[0].objects.size() == 2);
  CHECK((set.images[0].objects[0].box == Box{24, 12, 40, 36}));
  CHECK(set.images[0].objects[0].label == 1);
  CHECK(set.images[0].objects[1].line == 3);
  CHECK((set.images[0].objects[1].box == Box{0, 0, 16, 24}));
  CHECK((set.images[1].objects.at(0).box == Box{16, 12, 48, 36}));
  CHECK(set.images[2].objects.empty());
  REQUIRE(set.findings.size() == 2);
  CHECK(contains(set.findings[0].message, "1 pictures have no label file"));
  CHECK(contains(set.findings[1].message, "1 objects are polygons"));
}

TEST_CASE("A21 YOLO reader: broken lines are named with file and line") {
  const test::TempDir temp;
  write_grey(temp.path() / "images/a.png");
  text(temp.path() / "classes.txt", "cat\n");
  text(temp.path() / "labels/a.txt",
       "0 0.5 0.5 0.25\n1 0.5 0.5 0.1 0.1\n0 x 0.5 0.1 0.1\n0 320 240 50 60\n0 0.5 0.5 0 0.5\n"
       "0.5 0.5 0.5 0.1 0.1\n");
  const std::string file = (temp.path() / "labels/a.txt").string();
  CHECK(error_of([&] { read(temp.path()); }) ==
        file +
            ":1: expected 'class cx cy width height', found '0 0.5 0.5 0.25' (and 3 more "
            "errors)");
  ReadOptions lenient;
  lenient.lenient = true;
  const Dataset set = read(temp.path(), "all", lenient);
  REQUIRE(set.findings.size() == 6);
  CHECK(to_string(set.findings[1]) ==
        file + ":2: expected a class of 0 to 0 (1 names in classes.txt), found 1");
  CHECK(contains(to_string(set.findings[3]),
                 ":4: left out: shares of the picture are expected, not pixels: 'cat' ("));
  CHECK(to_string(set.findings[4]) == file + ":5: left out: 'cat' (32, 12, 32, 36) has no area");
  CHECK(set.images.at(0).objects.empty());
}

TEST_CASE("A21 YOLO reader: data.yaml in its usual forms") {
  const test::TempDir temp;
  const fs::path& root = temp.path();
  write_grey(root / "train/images/a.png");
  write_grey(root / "valid/images/b.png");
  text(root / "train/labels/a.txt", "0 0.5 0.5 0.5 0.5\n");
  text(root / "valid/labels/b.txt", "1 0.5 0.5 0.5 0.5\n");
  for (const char* names :
       {"names: [cat, 'it''s # not']", "names:\n- cat\n- \"it''s # not\"  # comment",
        "names:\n  0: cat\n  1: it''s # not", "names: {0: cat, 1: \"it''s # not\"}",
        "names: [cat,\n  \"it''s # not\"]"}) {
    INFO(names);
    text(root / "data.yaml", std::string("# made by hand\npath: /nowhere/else\ntrain: "
                                         "../train/images\nval: valid/images\ntest: # none\n\nnc: "
                                         "2\nroboflow:\n  license: CC\n") +
                                 names + "\n");
    const YoloLayout layout = read_yolo_layout(root);
    REQUIRE(layout.classes.size() == 2);
    CHECK(layout.classes[0] == "cat");
    CHECK(layout.classes[1].starts_with("it"));
    CHECK(read(root, "train").images.at(0).id == "a");
    CHECK(read(root, "val").images.at(0).objects.at(0).label == 1);
    CHECK(read(root / "data.yaml", "trainval").images.size() == 2);
  }
  CHECK(contains(error_of([&] { read(root, "test"); }),
                 "split 'test' does not exist; this set has train, val, all"));
  text(root / "list.txt", "./train/images/a.png\nvalid/images/c.png\n");
  text(root / "data.yaml", "train: list.txt\nnames: [cat, dog]\n");
  CHECK(contains(error_of([&] { read(root, "train"); }), "list.txt:2: picture "));
  text(root / "data.yaml", "train: nothing\nnames: [cat, dog]\n");
  CHECK(contains(error_of([&] { read(root, "train"); }), "data.yaml:1: "));
  text(root / "data.yaml", "train: list.txt\nnames:\n  0: cat\n  2: dog\n");
  CHECK(contains(error_of([&] { read(root, "train"); }), "data.yaml:4: expected '1: name'"));
}

TEST_CASE("A21 YOLO reader: folders of splits and equal names") {
  const test::TempDir temp;
  const fs::path& root = temp.path();
  write_grey(root / "images/train/x/1.png");
  write_grey(root / "images/train/y/1.png");
  write_grey(root / "images/val/2.png");
  text(root / "labels/train/y/1.txt", "0 0.5 0.5 0.5 0.5\n");
  text(root / "labels/classes.txt", "cat\n");
  const Dataset set = read(root, "train");
  REQUIRE(set.images.size() == 2);
  CHECK(set.images[0].id == "images_train_x_1");
  CHECK(set.images[1].id == "images_train_y_1");
  CHECK(set.images[1].objects.size() == 1);
  CHECK(yolo_label_file("/images/set/images/a/b.jpg") == fs::path("/images/set/labels/a/b.txt"));
  CHECK(yolo_label_file("x/b.jpg") == fs::path("x/b.txt"));
}

}  // namespace
}  // namespace frcnn
