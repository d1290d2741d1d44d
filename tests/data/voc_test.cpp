#include "data/voc.h"

#include <algorithm>

#include "tests/data/voc_maker.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;
namespace fs = std::filesystem;

namespace {

std::vector<Finding> defects(const Dataset& dataset) {
  std::vector<Finding> found;
  for (const Finding& finding : dataset.findings)
    if (finding.kind != FindingKind::note) found.push_back(finding);
  return found;
}

/// Sets the base without evidence from elsewhere: an object that fills the whole picture, 1-based.
const std::string kWhole = object_xml("cat", "1", "1", "64", "48");

}  // namespace

TEST_CASE("A21 VOC reader: boxes, flags and classes of one picture") {
  TempDir temp;
  VocMaker voc(temp.path());
  voc.add("a", object_xml("dog", "11", "5", "20", "30", "<difficult>1</difficult>") +
                   object_xml("a cat", "1.5", "2", "64", "48", "<truncated>1</truncated>"));
  const Dataset set = voc.read();
  REQUIRE(set.images.size() == 1);
  CHECK(set.class_names == std::vector<std::string>{"a cat", "dog"});
  const ImageRecord& image = set.images[0];
  CHECK(image.id == "a");
  CHECK(image.width == 64);
  CHECK(image.height == 48);
  REQUIRE(image.objects.size() == 2);
  CHECK(image.objects[0].box == Box{10, 4, 20, 30});  // 10 pixels wide: 11 to 20
  CHECK(image.objects[0].label == 1);
  CHECK(image.objects[0].difficult);
  CHECK_FALSE(image.objects[0].truncated);
  CHECK(image.objects[0].line == 3);
  CHECK(image.objects[1].box == Box{0.5f, 1, 64, 48});
  CHECK(image.objects[1].truncated);
  CHECK(image.objects[1].line == 4);
  CHECK(defects(set).empty());
}

TEST_CASE("A21 VOC reader: coordinates are detected over the whole folder and stated") {
  // boxes, at 0, at the picture's size
  CHECK(detect_coordinates({100, 0, 0}) == VocCoordinates::one_based);
  CHECK(detect_coordinates({100, 0, 9}) == VocCoordinates::one_based);
  CHECK(detect_coordinates({100, 9, 0}) == VocCoordinates::zero_based);
  CHECK(detect_coordinates({100, 9, 9}) == VocCoordinates::edges);
  CHECK(detect_coordinates({1000, 1, 90}) == VocCoordinates::one_based);  // one slip of a hand
  CHECK(detect_coordinates({1000, 90, 1}) == VocCoordinates::zero_based);

  TempDir temp;
  VocMaker voc(temp.path());
  voc.add("a", object_xml("cat", "10", "10", "20", "20"));
  voc.split("train", "a\n");
  CHECK(voc.read("train").images[0].objects[0].box == Box{9, 9, 20, 20});
  voc.add("b", object_xml("cat", "0", "10", "63", "20"));  // not in the split, but in the folder
  const Dataset zero = voc.read("train");
  CHECK(zero.images[0].objects[0].box == Box{10, 10, 21, 21});
  REQUIRE(zero.findings.size() == 1);
  CHECK(contains(zero.findings[0].message, "0-based pixels: of 2 boxes, 1 begin at 0 and 0 end"));
  voc.add("c", object_xml("cat", "0", "10", "64", "48"));
  CHECK(voc.read("train").images[0].objects[0].box == Box{10, 10, 20, 20});

  VocOptions options{temp.path(), "train", {}, VocCoordinates::one_based, true, false};
  const Dataset stated = read_voc(options);
  CHECK(stated.images[0].objects[0].box == Box{9, 9, 20, 20});
  CHECK(stated.findings.empty());
}

TEST_CASE("A21 VOC reader: objects without area or outside are left out, the rest is clipped") {
  TempDir temp;
  VocMaker voc(temp.path());
  voc.add("a", kWhole + object_xml("cat", "5", "5", "5", "9") +  // line 4: no area
                   object_xml("cat", "5", "5", "9", "5") +       // 5: no area
                   object_xml("cat", "70", "5", "90", "20") +    // 6: outside
                   object_xml("cat", "60", "5", "90", "20") +    // 7: mostly outside
                   object_xml("cat", "40", "5", "70", "20") +    // 8: clipped
                   object_xml("cat", "20", "30", "10", "5") +    // 9: swapped
                   object_xml("cat", "65535", "5", "9", "9") +   // 10: wrapped
                   object_xml("cat", "5", "65534", "9", "9") +   // 11: wrapped
                   object_xml("cat", "-3", "-1", "12", "12"));   // 12: clipped
  const Dataset set = voc.read();
  const std::vector<Object>& objects = set.images[0].objects;
  REQUIRE(objects.size() == 4);
  CHECK(objects[0].box == Box{0, 0, 64, 48});
  CHECK(objects[1].box == Box{39, 4, 64, 20});
  CHECK(objects[2].box == Box{9, 4, 20, 30});
  CHECK(objects[3].box == Box{0, 0, 12, 12});
  const std::vector<Finding> found = defects(set);
  REQUIRE(found.size() == 9);
  const std::vector<std::string> expected = {
      "has no area",       "has no area",       "lies wholly outside the picture (64x48)",
      "mostly outside",    "sticks out",        "corners swapped",
      "65535 far outside", "65534 far outside", "sticks out"};
  for (size_t i = 0; i < found.size(); ++i) {
    CHECK(found[i].line == static_cast<int>(i) + 4);
    CHECK(contains(found[i].file, "a.xml"));
    CHECK(contains(found[i].message, expected[i]));
    const bool repaired = i == 4 || i == 5 || i == 8;
    CHECK(found[i].kind == (repaired ? FindingKind::repaired : FindingKind::left_out));
  }
  CHECK(contains(to_string(found[0]), "a.xml:4: left out: 'cat' (5, 5, 5, 9) has no area"));

  VocOptions strict;
  strict.root = temp.path();
  strict.strict = true;
  const std::string message = error_of([&] { read_voc(strict); });
  CHECK(contains(message, "a.xml:4: left out: 'cat' (5, 5, 5, 9) has no area (and 8 more errors)"));
}

TEST_CASE("A21 VOC reader: unusable annotations are errors with file and line") {
  TempDir temp;
  VocMaker voc(temp.path());
  const auto message = [&](const std::string& objects) {
    voc.add("a", kWhole + objects);
    return error_of([&] { voc.read(); });
  };
  CHECK(contains(message("<object><bndbox/></object>\n"), "a.xml:4: expected <name> in <object>"));
  CHECK(contains(message("\n<object><name> </name></object>\n"), "a.xml:5: expected <name>"));
  CHECK(contains(message("<object><name>cat</name></object>\n"), "a.xml:4: expected <bndbox>"));
  CHECK(contains(message(object_xml("cat", "1", "2", "3x", "4")),
                 "a.xml:4: expected a number in <xmax>, found '3x'"));
  CHECK(contains(message(object_xml("cat", "1", "nan", "3", "4")), "in <ymin>, found 'nan'"));
  CHECK(contains(message("<object><name>cat</name><bndbox><xmin>1</xmin></bndbox></object>"),
                 "a.xml:4: expected <ymin> in <bndbox>"));
  CHECK(contains(message("\n\n<object></nonsense>"), "a.xml:6: malformed XML"));
  CHECK(contains(message("<object/>\n<object/>\n"), "(and 3 more errors)"));

  voc.annotate("a", "");
  CHECK(contains(error_of([&] { voc.read(); }), "a.xml:1: malformed XML"));
  voc.annotate("a", "<html/>");
  CHECK(contains(error_of([&] { voc.read(); }), "expected <annotation> as the outermost element"));
  for (const std::string& text : {message("<object/>"), message("<object></nonsense>")})
    CHECK(text.find('\n') == std::string::npos);  // one line
}

TEST_CASE("A21 VOC reader: a lenient reading turns errors into findings and goes on") {
  TempDir temp;
  VocMaker voc(temp.path());
  voc.add("a", kWhole + "<object><bndbox/></object>\n" + object_xml("dog", "5", "5", "9", "9") +
                   "<object><name>cat</name></object>\n");
  voc.add("b", kWhole);
  voc.annotate("b", "<annotation>\n<size>");
  voc.annotate("c", "<annotation>\n" + kWhole + "</annotation>");
  voc.add("d", kWhole);
  write_file(temp.path() / "JPEGImages/d.png", "no picture");
  voc.split("train", "a\nb\nc\nx\nd\n");
  VocOptions options;
  options.root = temp.path(), options.split = "train", options.lenient = true;
  VocCoordinates used = VocCoordinates::detect;
  const Dataset set = read_voc(options, &used);
  CHECK(used == VocCoordinates::one_based);
  REQUIRE(set.images.size() == 1);
  CHECK(set.images[0].objects.size() == 2);
  std::vector<std::pair<Defect, std::string>> found;
  for (const Finding& f : defects(set)) {
    CHECK(f.kind == FindingKind::error);
    found.emplace_back(f.defect,
                       fmt::format("{}:{}", fs::path(f.file).filename().string(), f.line));
  }
  CHECK(found == std::vector<std::pair<Defect, std::string>>{
                     {Defect::object_broken, "a.xml:4"},  // no name
                     {Defect::object_broken, "a.xml:4"},  // no corner
                     {Defect::object_broken, "a.xml:6"},
                     {Defect::annotation_broken, "b.xml:2"},
                     {Defect::picture_missing, "c.xml:1"},
                     {Defect::annotation_missing, "train.txt:4"},
                     {Defect::picture_unreadable, ":0"}});
  options.lenient = false;
  CHECK(contains(error_of([&] { read_voc(options); }),
                 "a.xml:4: expected <name> in <object>, found none (and 6 more errors)"));
}

TEST_CASE("A21 VOC reader: unusable files outside the split don't matter") {
  TempDir temp;
  VocMaker voc(temp.path());
  voc.add("a", kWhole);
  voc.annotate("broken", "<annotation>");
  voc.split("train", "a\r\n\n");
  CHECK(voc.read("train").images.size() == 1);
  CHECK(contains(error_of([&] { voc.read("all"); }), "broken.xml"));
}

TEST_CASE("A21 VOC reader: pictures that are missing or of another size") {
  TempDir temp;
  VocMaker voc(temp.path());
  voc.add("a", kWhole, "<size><width>0</width><height>0</height></size>");
  const Dataset set = voc.read();
  CHECK(set.images[0].width == 64);
  REQUIRE(defects(set).size() == 1);
  CHECK(contains(defects(set)[0].message, "<size> is 0x0, the picture is 64x48"));
  voc.add("a", kWhole, "");
  CHECK(defects(voc.read()).empty());
  CHECK(voc.read().images[0].height == 48);

  fs::remove(temp.path() / "JPEGImages/a.png");
  const std::string message = error_of([&] { voc.read(); });
  CHECK(contains(message, "a.xml:1: picture"));
  CHECK(contains(message, "does not exist"));
  write_file(temp.path() / "JPEGImages/a.jpg", "just some text");
  CHECK(contains(error_of([&] { voc.read(); }), "a.jpg: expected a picture"));
}

TEST_CASE("A21 VOC reader: splits") {
  TempDir temp;
  VocMaker voc(temp.path() / "deep/VOC2007");
  const auto read = [&](const std::string& split) { return read_folder(temp.path(), split); };
  for (const char* id : {"a", "b", "c"}) voc.add(id, kWhole);
  CHECK(read("all").images.size() == 3);  // found two levels below
  CHECK(contains(error_of([&] { read("train"); }), "no split files: use 'all'"));
  voc.split("train", "c\n");
  voc.split("val", "a\n");
  voc.split("cat_train", "c  1\n");
  CHECK(voc_splits(temp.path()) == std::vector<std::string>{"train", "val"});
  const Dataset both = read("trainval");
  REQUIRE(both.images.size() == 2);
  CHECK(both.images[0].id == "c");
  CHECK(
      contains(error_of([&] { read("test"); }), "'test' does not exist; this set has train, val"));
  voc.split("trainval", "b\nb\nx\n");
  const std::string message = error_of([&] { read("trainval"); });
  CHECK(contains(message, "trainval.txt:3: picture 'x' has no annotation"));
  voc.split("trainval", "b\nb\n");
  CHECK(read("trainval").images.size() == 1);
  CHECK(contains(defects(read("trainval"))[0].message, "'b' is named a second time"));
  voc.split("trainval", "\n");
  CHECK(contains(error_of([&] { read("trainval"); }), "expected picture names"));
}

TEST_CASE("A21 VOC reader: given classes") {
  TempDir temp;
  VocMaker voc(temp.path());
  voc.add("a", kWhole + object_xml("dog", "5", "5", "9", "9"));
  const Dataset set = voc.read("all", {"dog", "bird"});
  CHECK(set.class_names == std::vector<std::string>{"dog", "bird"});
  REQUIRE(set.images[0].objects.size() == 1);
  CHECK(set.images[0].objects[0].label == 0);
  REQUIRE(defects(set).size() == 1);
  CHECK(contains(to_string(defects(set)[0]), "a.xml:3: left out: 'cat'"));
  CHECK(contains(error_of([&] { voc.read("all", {"cat", "cat"}); }), "'cat' is given twice"));
  CHECK(contains(error_of([&] { voc.read("all", {"background"}); }), "don't include"));
  CHECK(contains(error_of([&] { require_not_empty(voc.read("all", {"owl"}), true); }),
                 "expected labelled objects, found none in 1 pictures (2 left out)"));
}

TEST_CASE("A21 VOC reader: folders that are no data set") {
  TempDir temp;
  const auto message = [](const fs::path& root) { return error_of([&] { read_folder(root); }); };
  CHECK(contains(message(temp.path() / "none"), "none: data folder does not exist"));
  CHECK(contains(message(temp.path()), "found an empty folder"));
  for (const char* name : {"a.txt", "b.txt", "c.txt", "d.txt"})
    write_file(temp.path() / name, "some text\n");
  CHECK(contains(message(temp.path()), "found 4 files (a.txt, b.txt, c.txt, ...) and 0 folders"));
  CHECK(contains(message(temp.path() / "a.txt"), "expected a data folder, found a file"));
  fs::create_directories(temp.path() / "one/Annotations");
  CHECK(contains(message(temp.path()), "expected annotation files *.xml, found an empty folder"));
  fs::create_directories(temp.path() / "two/Annotations");
  CHECK(contains(message(temp.path()), "expected one VOC folder, found one, two"));
}

TEST_CASE("A21 VOC reader: boxes drawn on a picture before EXIF turned it are turned too") {
  FRCNN_REQUIRE_REAL_DATA(data);
  TempDir temp;
  VocMaker voc(temp.path());
  // Portrait_6 is stored lying on its side; a strip along its stored top edge is shown at the
  // right.
  const fs::path picture = data / "images/exif_orientation/Portrait_6.jpg";
  const ImageInfo info = read_image_info(picture);
  REQUIRE(info.orientation == 6);
  REQUIRE(info.stored_width == info.height);
  voc.annotate("p",
               fmt::format("<annotation>\n<size><width>{}</width><height>{}</height></size>\n{}"
                           "</annotation>",
                           info.stored_width, info.stored_height,
                           object_xml("cat", "1", "1", std::to_string(info.stored_width), "50")));
  fs::copy_file(picture, temp.path() / "JPEGImages/p.jpg");
  const Dataset set = voc.read();
  REQUIRE(set.images[0].objects.size() == 1);
  const auto w = static_cast<float>(info.width), h = static_cast<float>(info.height);
  CHECK(set.images[0].objects[0].box == Box{w - 50, 0, w, h});
  REQUIRE(defects(set).size() == 1);
  CHECK(contains(defects(set)[0].message, "EXIF orientation 6"));
}

TEST_CASE("A21 BCCD: 364 pictures, 4888 boxes of which two have no area") {
  FRCNN_REQUIRE_REAL_DATA(data);
  const Dataset set = read_folder(data / "bccd");
  CHECK(set.class_names == std::vector<std::string>{"Platelets", "RBC", "WBC"});
  const DatasetSummary summary = summarise(set);
  CHECK(summary.images == 364);
  CHECK(summary.boxes == 4888 - 2);
  CHECK(summary.classes[0].boxes == 361);
  CHECK(summary.classes[1].boxes == 4155 - 2);
  CHECK(summary.classes[2].boxes == 372);
  CHECK(summary.distinct_sizes == 1);
  const std::vector<Finding> found = defects(set);
  REQUIRE(found.size() == 2);
  CHECK(contains(to_string(found[0]), "BloodImage_00338.xml:"));
  CHECK(contains(to_string(found[0]), "left out: 'RBC' (504, 337, 504, 337) has no area"));
  CHECK(contains(to_string(found[1]), "BloodImage_00343.xml:"));
  REQUIRE(set.findings.size() == 3);
  CHECK(contains(set.findings[0].message, "1-based pixels: of 4886 boxes, 0 begin at 0"));
  const std::vector<std::pair<std::string, size_t>> splits = {
      {"train", 205}, {"val", 87}, {"test", 72}, {"trainval", 292}};
  for (const auto& [split, images] : splits)
    CHECK(read_folder(data / "bccd", split).images.size() == images);
}

TEST_CASE("A21 VOC2012 sample: 100 pictures, 273 boxes, 38 difficult, 137 truncated") {
  FRCNN_REQUIRE_REAL_DATA(data);
  const Dataset set = read_folder(data / "voc2012_sample");
  const DatasetSummary summary = summarise(set);
  CHECK(summary.images == 100);
  CHECK(summary.boxes == 273);
  CHECK(summary.difficult == 38);
  CHECK(summary.truncated == 137);
  CHECK(set.class_names.size() == 20);
  CHECK(defects(set).empty());
  CHECK(contains(set.findings.at(0).message, "1-based"));
  CHECK(contains(error_of([&] { read_folder(data / "voc2012_sample", "train"); }), "use 'all'"));
  const std::string text = describe(set);
  CHECK(contains(text, "273 (38 difficult, 137 truncated)"));
  CHECK(contains(text, "note: coordinates are read as 1-based pixels"));
}
