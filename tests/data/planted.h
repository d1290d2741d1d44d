#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/doctor.h"
#include "tests/data/picture_maker.h"
#include "tests/data/voc_maker.h"

namespace frcnn::test {

/// Where one defect was planted: "box-empty a.xml:3", the file by its name, line 0: none.
inline std::string planted(Defect defect, const std::string& file, int line) {
  return fmt::format("{} {}:{}", info(defect).code, file, line);
}

/// A set with planted defects and what should be found in it.
struct PlantedSet {
  std::string name;
  std::vector<std::string> expected;      ///< planted(), in any order
  std::vector<std::string> classes = {};  ///< class list to give
};

/// Makes sets of 30 different pictures of 64x48 pixels, p00.png to p29.png, three objects each in
/// lines 3 to 5 (cat, dog, bird; 1-based, the bird ends at the right edge), and splits train (20),
/// val (5), test (5); then plants defects. A helper of the tests, not of `frcnn synth`: nobody but
/// they wants broken sets, and they have to know each line.
class Planter {
 public:
  explicit Planter(const std::filesystem::path& folder) : folder_(folder), voc_(folder) {
    std::string train, val, test;
    for (int i = 0; i < 30; ++i) {
      const std::string id = name(i);
      voc_.annotate(id, annotation(kObjects));
      put(id + ".png", encode_png(picture(i)));
      (i < 20 ? train : i < 25 ? val : test) += id + "\n";
    }
    voc_.split("train", train), voc_.split("val", val), voc_.split("test", test);
  }

  using Plant = std::function<PlantedSet(Planter&)>;
  /// The sets. Each goes into a folder of its own.
  static std::vector<Plant> all() {
    return {&Planter::coordinate_bases,
            &Planter::corners,
            &Planter::outside,
            &Planter::twice,
            &Planter::sizes,
            &Planter::exif,
            &Planter::formats,
            &Planter::damage,
            &Planter::annotations,
            &Planter::classes,
            &Planter::lists,
            &Planter::copies};
  }

  PlantedSet coordinate_bases() {
    objects(2, object_xml("cat", "0", "5", "20", "20"));
    objects(3, object_xml("cat", "65534", "5", "20", "20") +
                   object_xml("dog", "5", "4294967295", "9", "9"));
    return {"coordinates",
            {planted(Defect::coordinate_base, "p02.xml", 6),
             planted(Defect::coordinate_wrapped, "p03.xml", 6),
             planted(Defect::coordinate_wrapped, "p03.xml", 7)}};
  }
  PlantedSet corners() {
    objects(4, object_xml("cat", "30", "5", "20", "20"));
    objects(5, object_xml("cat", "20", "20", "20", "30"));
    objects(6, object_xml("cat", "20", "30", "30", "30"));
    return {"corners",
            {planted(Defect::box_swapped, "p04.xml", 6), planted(Defect::box_empty, "p05.xml", 6),
             planted(Defect::box_empty, "p06.xml", 6)}};
  }
  PlantedSet outside() {
    objects(7, object_xml("cat", "70", "5", "90", "20") + object_xml("dog", "60", "5", "90", "9"));
    objects(8, object_xml("cat", "40", "5", "70", "20") + object_xml("dog", "-4", "5", "30", "9"));
    return {
        "outside",
        {planted(Defect::box_outside, "p07.xml", 6), planted(Defect::box_outside, "p07.xml", 7),
         planted(Defect::box_clipped, "p08.xml", 6), planted(Defect::box_clipped, "p08.xml", 7)}};
  }
  PlantedSet twice() {
    objects(9, object_xml("cat", "5", "5", "20", "20"));   // as in line 3
    objects(10, object_xml("dog", "5", "5", "20", "20"));  // another class is no copy
    objects(1,
            object_xml("bird", "41", "20", "64", "40") + object_xml("dog", "27", "8", "40", "28"));
    return {"objects twice",
            {planted(Defect::box_duplicate, "p09.xml", 6),
             planted(Defect::box_duplicate, "p01.xml", 6)}};
  }
  PlantedSet sizes() {
    voc_.annotate("p11", annotation(kObjects, 128, 96));
    voc_.annotate("p12", annotation(kObjects, 0, 0));
    return {"sizes",
            {planted(Defect::size_mismatch, "p11.xml", 2),
             planted(Defect::size_mismatch, "p12.xml", 2)}};
  }
  PlantedSet exif() {
    replace("p13", ".jpg", with_app1(encode_jpeg(picture(13)), exif_block(3, true)));
    replace("p14", ".jpg", with_app1(encode_jpeg(picture(14)), exif_block(6, false)));
    return {"EXIF",
            {planted(Defect::exif_orientation, "p13.jpg", 0),
             planted(Defect::exif_orientation, "p14.jpg", 0),
             planted(Defect::exif_turned, "p14.xml", 2)}};
  }
  PlantedSet formats() {
    replace("p15", ".jpg", encode_png(picture(15)));
    replace("p16", ".png", encode_jpeg(picture(16)));
    std::vector<uint8_t> gray(size_t{65} * 48, 0), deep(size_t{64 * 6 + 1} * 48, 0);
    replace("p17", ".png", PngMaker::png(64, 48, 8, 0, gray));
    replace("p18", ".png", PngMaker::png(64, 48, 16, 2, deep));
    return {
        "formats",
        {planted(Defect::picture_extension, "p15.jpg", 0),
         planted(Defect::picture_extension, "p16.png", 0),
         planted(Defect::picture_gray, "p17.png", 0), planted(Defect::picture_deep, "p18.png", 0)}};
  }
  PlantedSet damage() {
    std::vector<uint8_t> jpeg = encode_jpeg(picture(19)), png = encode_png(picture(20));
    jpeg.resize(jpeg.size() * 3 / 4), png.resize(png.size() - 30);
    replace("p19", ".jpg", jpeg);
    replace("p20", ".png", png);
    replace("p21", ".png", {'t', 'e', 'x', 't'});
    std::filesystem::remove(folder_ / "JPEGImages/p22.png");
    return {"damage",
            {planted(Defect::picture_truncated, "p19.jpg", 0),
             planted(Defect::picture_truncated, "p20.png", 0),
             planted(Defect::picture_unreadable, "p21.png", 0),
             planted(Defect::picture_missing, "p22.xml", 1)}};
  }
  PlantedSet annotations() {
    voc_.annotate("p23", "<annotation>\n<size>\n</annotation>\n");
    objects(24,
            "<object><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
            "</object>\n<object><name>cat</name></object>\n" +
                object_xml("cat", "1", "2", "3x", "4"));
    return {
        "annotations",
        {planted(Defect::annotation_broken, "p23.xml", 3),
         planted(Defect::object_broken, "p24.xml", 6), planted(Defect::object_broken, "p24.xml", 7),
         planted(Defect::object_broken, "p24.xml", 8)}};
  }
  PlantedSet classes() {
    objects(25, object_xml("Cat", "25", "5", "30", "20") + object_xml("cow", "5", "25", "9", "40"));
    objects(26, object_xml("horse", "25", "5", "30", "20"));
    return {
        "classes",
        {planted(Defect::class_similar, "p25.xml", 6), planted(Defect::class_rare, "p25.xml", 6),
         planted(Defect::class_rare, "p25.xml", 7), planted(Defect::class_unknown, "p26.xml", 6)},
        {"cat", "dog", "bird", "Cat", "cow"}};
  }
  PlantedSet lists() {
    put("extra.png", encode_png(picture(40)));
    voc_.split("val", "p20\np21\np22\np23\np24\nnone\np21\np03\n");
    return {"lists",
            {planted(Defect::picture_unlabelled, "extra.png", 0),
             planted(Defect::annotation_missing, "val.txt", 6),
             planted(Defect::split_repeats, "val.txt", 7),
             planted(Defect::split_leak, "train.txt", 4)}};
  }
  PlantedSet copies() {
    put("p27.png", encode_png(picture(5)));   // test, as p05 of train
    put("p22.png", encode_png(picture(21)));  // val, both
    return {"copies",
            {planted(Defect::split_leak, "train.txt", 6),
             planted(Defect::picture_duplicate, "p22.png", 0)}};
  }

 private:
  static inline const std::string kObjects = object_xml("cat", "5", "5", "20", "20") +
                                             object_xml("dog", "25", "8", "40", "30") +
                                             object_xml("bird", "40", "20", "64", "40");

  static std::string name(int i) { return fmt::format("p{:02}", i); }
  static std::string annotation(const std::string& objects, int width = 64, int height = 48) {
    return fmt::format(
        "<annotation>\n<size><width>{}</width><height>{}</height></size>\n{}</annotation>\n", width,
        height, objects);
  }
  /// Differs from the others also as a JPEG.
  static Image picture(int i) {
    Image image(64, 48, static_cast<uint8_t>(5 * i));
    for (int x = 0; x < 64; ++x) image.pixel(x, i)[1] = 200;
    return image;
  }
  /// Objects behind the three that are right.
  void objects(int i, const std::string& more) {
    voc_.annotate(name(i), annotation(kObjects + more));
  }
  void put(const std::string& file, const std::vector<uint8_t>& bytes) {
    write_file(folder_ / "JPEGImages" / file, bytes);
  }
  void replace(const std::string& id, const std::string& extension,
               const std::vector<uint8_t>& bytes) {
    std::filesystem::remove(folder_ / "JPEGImages" / (id + ".png"));
    put(id + extension, bytes);
  }

  std::filesystem::path folder_;
  VocMaker voc_;
};

}  // namespace frcnn::test
