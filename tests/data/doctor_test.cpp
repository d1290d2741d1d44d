#include "data/doctor_fix.h"

#include <algorithm>
#include <set>

#include "tests/data/planted.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;
namespace fs = std::filesystem;

namespace {

/// The findings as planted() writes them, without the note on coordinates, sorted.
std::vector<std::string> found(const Diagnosis& diagnosis) {
  std::vector<std::string> out;
  for (const Finding& f : diagnosis.findings) {
    if (f.defect == Defect::coordinates) continue;
    std::string file = fs::path(f.file).filename().string();
    // Messages of unreadable pictures begin with the file.
    if (file.empty()) file = fs::path(f.message.substr(0, f.message.find(": "))).filename();
    out.push_back(planted(f.defect, file, f.line));
  }
  std::sort(out.begin(), out.end());
  return out;
}

Diagnosis look(const fs::path& root, const std::vector<std::string>& classes = {},
               const DoctorOptions& options = {}) {
  VocOptions voc;
  voc.root = root, voc.classes = classes;
  return examine_voc(voc, options);
}

}  // namespace

TEST_CASE("Doctor: a clean set has no findings") {
  TempDir temp;
  const Planter planter(temp.path());
  for (const bool deep : {false, true}) {
    DoctorOptions options;
    options.deep = deep;
    const Diagnosis d = look(temp.path(), {}, options);
    CHECK(found(d) == std::vector<std::string>{});
    CHECK(d.set.images.size() == 30);
    REQUIRE(d.lists.size() == 3);
    CHECK(d.lists[1].name == "train");
    REQUIRE(d.findings.size() == 1);
    CHECK(contains(d.findings[0].message, "1-based"));
    CHECK(d.count(Severity::note) == 1);
    CHECK(d.sizes.at(0).at(1) == 30);  // birds of 25 x 21 pixels
  }
}

TEST_CASE("Doctor: every planted defect is found in its place, and nothing else") {
  size_t sets = 0;
  for (const Planter::Plant& plant : Planter::all()) {
    TempDir temp;
    Planter planter(temp.path());
    PlantedSet set = plant(planter);
    INFO(set.name);
    std::sort(set.expected.begin(), set.expected.end());
    CHECK(found(look(temp.path(), set.classes)) == set.expected);
    ++sets;
  }
  CHECK(sets >= 10);
}

namespace {

/// Every file of a folder with its content.
std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file())
      files[entry.path().lexically_relative(folder).string()] = read_text(entry.path());
  return files;
}

Repairs fix(const fs::path& root, const fs::path& out, const std::vector<std::string>& classes) {
  VocOptions voc;
  voc.root = root, voc.classes = classes;
  VocCoordinates used = VocCoordinates::detect;
  const Diagnosis d = examine_voc(voc, {}, &used);
  return write_repaired(d, used, out);
}

}  // namespace

TEST_CASE("Doctor: a repaired copy has no errors, and the original stays as it was") {
  for (const Planter::Plant& plant : Planter::all()) {
    TempDir temp;
    const fs::path root = temp.path() / "set", out = temp.path() / "fixed";
    Planter planter(root);
    const PlantedSet set = plant(planter);
    INFO(set.name);
    const auto before = contents(root);
    const Repairs repairs = fix(root, out, set.classes);
    CHECK(contents(root) == before);
    const Diagnosis again = look(out, set.classes);
    CHECK(again.count(Severity::error) == 0);
    CHECK(repairs.pictures == std::ssize(again.set.images));
    int64_t objects = 0;
    for (const ImageRecord& image : again.set.images) objects += std::ssize(image.objects);
    CHECK(repairs.objects == objects);
    // What stays can't be repaired without looking: rare classes, copies, gray pictures, EXIF.
    for (const Finding& f : again.findings) {
      INFO(to_string(f));
      const bool nearly = f.defect == Defect::box_duplicate && contains(f.message, "nearly");
      CHECK((nearly || f.defect == Defect::coordinates || info(f.defect).fix.empty()));
    }
    if (set.name == "copies") CHECK(repairs.pictures == 29);  // without the copy of a test picture
    const auto folders = fs::directory_iterator(temp.path());
    CHECK(std::distance(fs::begin(folders), fs::end(folders)) == 2);
  }
}

TEST_CASE("Doctor: what a repair writes") {
  TempDir temp;
  const fs::path root = temp.path() / "set", out = temp.path() / "fixed";
  Planter planter(root);
  planter.corners();
  planter.formats();
  planter.lists();
  // Further tags and comments of a changed annotation stay.
  VocMaker(root).annotate(
      "p04", "<annotation><!-- mine -->\n<size><width>64</width><height>48</height></size>\n" +
                 object_xml("cat", "30", "5", "20", "20", "<pose>Left</pose>") + "</annotation>\n");
  const Repairs repairs = fix(root, out, {});
  const std::string text = read_text(out / "Annotations/p04.xml");
  CHECK(contains(text, "<!-- mine -->"));
  CHECK(contains(text, "<pose>Left</pose>"));
  CHECK(contains(text, "<xmin>20</xmin><ymin>5</ymin><xmax>30</xmax><ymax>20</ymax>"));
  CHECK(read_text(out / "Annotations/p00.xml") == read_text(root / "Annotations/p00.xml"));
  CHECK(fs::exists(out / "JPEGImages/p15.png"));
  CHECK(fs::exists(out / "JPEGImages/p16.jpg"));
  CHECK_FALSE(fs::exists(out / "JPEGImages/extra.png"));
  CHECK(read_text(out / "ImageSets/Main/val.txt") == "p20\np21\np22\np23\np24\np03\n");
  CHECK_FALSE(contains(read_text(out / "ImageSets/Main/train.txt"), "p03"));
  CHECK(repairs.counts.at(Defect::box_swapped) == 1);
  CHECK(repairs.counts.at(Defect::picture_extension) == 2);
  CHECK(contains(read_text(out / "repairs.txt"), "p15.jpg: renamed to p15.png"));
  const std::string message = error_of([&] { fix(root, out, {}); });
  CHECK(contains(message, "fixed: expected a folder that does not exist yet, found one"));
}

TEST_CASE("Doctor: a 0-based set is repaired to VOC's numbers") {
  TempDir temp;
  const fs::path root = temp.path() / "set", out = temp.path() / "fixed";
  VocMaker voc(root);
  voc.add("a", object_xml("cat", "0", "0", "10.5", "20"));
  const Diagnosis before = look(root);
  fix(root, out, {});
  CHECK(contains(read_text(out / "Annotations/a.xml"),
                 "<xmin>1</xmin><ymin>1</ymin><xmax>11.5</xmax><ymax>21</ymax>"));
  CHECK(look(out).set.images.at(0).objects.at(0).box == before.set.images.at(0).objects.at(0).box);
}

TEST_CASE("Doctor: BCCD has two boxes without area and seven cells that were marked twice") {
  FRCNN_REQUIRE_REAL_DATA(data);
  // Each was looked at: the seven are copies moved by (2, 2) pixels.
  CHECK(found(look(data / "bccd/BCCD")) ==
        std::vector<std::string>{
            "box-duplicate BloodImage_00020.xml:182", "box-duplicate BloodImage_00100.xml:38",
            "box-duplicate BloodImage_00104.xml:170", "box-duplicate BloodImage_00251.xml:98",
            "box-duplicate BloodImage_00284.xml:26", "box-duplicate BloodImage_00331.xml:38",
            "box-duplicate BloodImage_00403.xml:50", "box-empty BloodImage_00338.xml:158",
            "box-empty BloodImage_00343.xml:50"});
}

TEST_CASE("Doctor: the VOC2012 sample has rare classes and no defects") {
  FRCNN_REQUIRE_REAL_DATA(data);
  const Diagnosis d = look(data / "voc2012_sample");
  CHECK(d.count(Severity::error) + d.count(Severity::warning) == 0);
  for (const Finding& f : d.findings) {
    INFO(to_string(f));
    CHECK((f.defect == Defect::class_rare || f.defect == Defect::coordinates));
  }
}

TEST_CASE("Doctor: docs/doctor.md has a row for every code") {
  const std::string text = read_text(source_dir() / "docs/doctor.md");
  for (const DefectInfo& kind : defects()) {
    INFO(kind.code);
    const std::string weight =
        kind.defect == Defect::other ? "by case" : std::string(name_of(kind.severity));
    CHECK(contains(text, fmt::format("\n| `{}` | {} | ", kind.code, weight)));
    CHECK(info(kind.defect).code == kind.code);
    CHECK_FALSE(kind.advice.empty());
  }
}

TEST_CASE("Doctor: a COCO set, its splits and its repair") {
  TempDir temp;
  const fs::path root = temp.path() / "set", out = temp.path() / "fixed";
  for (const char* folder : {"annotations", "train", "val"}) fs::create_directories(root / folder);
  Image picture(64, 48, 90);
  const auto write = [&](const char* name, uint8_t mark) {
    picture.pixel(3, 3)[0] = mark;
    write_image(picture, root / name);
  };
  write("train/a.png", 1), write("train/b.png", 2), write("val/a.png", 3), write("val/c.png", 2);
  const std::string categories =
      R"("categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],)"
      "\n";
  write_file(root / "annotations/instances_train.json",
             R"({"images": [
{"id": 1, "file_name": "a.png", "width": 64, "height": 48},
{"id": 2, "file_name": "b.png", "width": 64, "height": 48}],
)" + categories +
                 R"("annotations": [
{"id": 1, "image_id": 1, "category_id": 3, "bbox": [4, 4, 20, 20]},
{"id": 2, "image_id": 1, "category_id": 7, "bbox": [4, 4, 0, 20]},
{"id": 3, "image_id": 2, "category_id": 7, "bbox": [4, 4, 20, 20]},
{"id": 4, "image_id": 2, "category_id": 7, "bbox": [4, 4, 20, 20]}]})");
  write_file(root / "annotations/instances_val.json",
             R"({"images": [
{"id": 1, "file_name": "a.png", "width": 64, "height": 48},
{"id": 2, "file_name": "c.png", "width": 64, "height": 48}],
)" + categories +
                 R"("annotations": [
{"id": 1, "image_id": 1, "category_id": 3, "bbox": [4, 4, 20, 20]}]})");
  DoctorOptions options;
  options.rare = 0;
  const Diagnosis d = examine_dataset(root, "all", {}, options);
  CHECK(d.set.images.size() == 4);
  CHECK(found(d) == std::vector<std::string>{
                        "box-duplicate instances_train.json:9", "box-empty instances_train.json:7",
                        "id-gaps instances_train.json:0", "split-leak instances_train.json:0"});
  const Repairs repairs = write_repaired(d, VocCoordinates::one_based, out);
  CHECK(repairs.pictures == 3);  // without train/b.png, which is val/c.png
  const Diagnosis again = look(out);
  CHECK(again.count(Severity::error) == 0);
  CHECK(again.set.class_names == std::vector<std::string>{"cat"});  // the dogs were in that one
  CHECK(read_text(out / "ImageSets/Main/val.txt").size() > 3);
}
