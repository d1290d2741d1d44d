#include "data/writers.h"

#include <cmath>

#include "data/detections_io.h"
#include "tests/data/voc_maker.h"
#include "tests/support/catch.h"
#include "tests/support/support.h"

namespace frcnn {
namespace {

namespace fs = std::filesystem;
using test::contains;
using test::error_of;

/// Two splits with awkward boxes: fractions, picture borders, crowds, flags, mask areas, names that
/// need escapes, and a picture without objects.
std::vector<NamedSplit> awkward(const fs::path& folder) {
  std::vector<NamedSplit> splits(2);
  const std::vector<float> numbers = test::random_vector<float>(400, 0, 1, 7);
  size_t next = 0;
  for (size_t s = 0; s < 2; ++s) {
    splits[s].name = s == 0 ? "train" : "val";
    Dataset& set = splits[s].set;
    set.class_names = {"a & <b>, \"c\"", "d'e: #f", "\xC3\xBC"};
    set.category_ids = {0, 44, 90};
    for (int i = 0; i < 3; ++i) {
      ImageRecord image;
      image.id = fmt::format("{}{}", s == 0 ? "p" : "q", i);
      image.path = folder / fmt::format("{}/{}.png", s, image.id);
      image.number = static_cast<int64_t>(s) * 10 + i;
      image.width = 67, image.height = 49;
      fs::create_directories(image.path.parent_path());
      write_image(Image(67, 49, 90), image.path);
      for (int k = 0; k < (i == 2 ? 0 : 12); ++k) {
        Object o;
        const float x = numbers.at(next++) * 60, y = numbers.at(next++) * 40;
        o.box = {x, y, x + 1 + numbers.at(next++) * (66 - x),
                 y + 1 + numbers.at(next++) * (48 - y)};
        if (k == 0) o.box = {0, 0, 67, 49};
        if (k == 1) o.box = {1, 2, 33, 44};
        o.box.x2 = std::min(o.box.x2, 67.0f), o.box.y2 = std::min(o.box.y2, 49.0f);
        o.label = k % 3;
        o.difficult = k == 2, o.truncated = k == 3, o.crowd = k == 4;
        if (k == 5) o.area = 12.625;
        image.objects.push_back(o);
      }
      set.images.push_back(image);
    }
  }
  return splits;
}

std::string place_of(const Object& o) {
  return fmt::format("{} {} {} {} {}", o.label, o.box.x1, o.box.y1, o.box.x2, o.box.y2);
}

/// What a format must keep of a split, as lines. Areas of boxes count as none.
std::vector<std::string> content(const Dataset& set, bool flags) {
  std::vector<std::string> lines = set.class_names;
  for (const ImageRecord& image : set.images) {
    lines.push_back(fmt::format("{} {}x{}", image.id, image.width, image.height));
    for (const Object& o : image.objects) {
      if (!flags && o.crowd) continue;
      const double box = (double{o.box.x2} - o.box.x1) * (double{o.box.y2} - o.box.y1);
      lines.push_back(place_of(o) + (flags
                                         ? fmt::format(" {:d}{:d}{:d} {}", o.difficult, o.truncated,
                                                       o.crowd, o.area == box ? -1 : o.area)
                                         : ""));
    }
  }
  return lines;
}

std::vector<NamedSplit> read_back(const fs::path& folder, const std::vector<NamedSplit>& like) {
  std::vector<NamedSplit> splits;
  for (const NamedSplit& split : like) {
    SourceOptions options;
    options.read.classes.keep = like.front().set.class_names;
    options.read.strict = true;
    splits.push_back({split.name, read_dataset(folder, split.name, options)});
  }
  return splits;
}

TEST_CASE("A21 writers: every pair of formats gives the same boxes, bit for bit") {
  constexpr DatasetFormat kAll[] = {DatasetFormat::voc, DatasetFormat::coco, DatasetFormat::yolo,
                                    DatasetFormat::csv};
  const test::TempDir temp;
  const std::vector<NamedSplit> original = awkward(temp.path() / "source");
  for (const DatasetFormat first : kAll)
    for (const DatasetFormat second : kAll) {
      INFO(name_of(first) << " to " << name_of(second));
      const fs::path folder = temp.path() / fmt::format("{}-{}", name_of(first), name_of(second));
      const auto losses = write_dataset(folder / "1", first, original, PictureMode::link);
      CHECK(losses.size() == (first == DatasetFormat::yolo ? 2 : 0));
      CHECK(recognise_format(folder / "1") == first);
      const auto once = read_back(folder / "1", original);
      write_dataset(folder / "2", second, once, PictureMode::copy);
      const auto twice = read_back(folder / "2", original);
      const bool flags = first != DatasetFormat::yolo && second != DatasetFormat::yolo;
      for (size_t s = 0; s < 2; ++s) {
        INFO(original[s].name);
        CHECK(content(twice[s].set, flags) == content(original[s].set, flags));
        if (second == DatasetFormat::coco && first == DatasetFormat::coco) {
          CHECK(twice[s].set.category_ids == original[s].set.category_ids);
          CHECK(twice[s].set.images[1].number == original[s].set.images[1].number);
        }
      }
    }
}

TEST_CASE("writers: one split, equal names, no pictures") {
  const test::TempDir temp;
  std::vector<NamedSplit> splits = awkward(temp.path() / "source");
  splits[1].set.images[1].id = "p1";  // the pictures of all splits meet in VOC's one folder
  write_dataset(temp.path() / "voc", DatasetFormat::voc, splits, PictureMode::copy);
  CHECK(fs::exists(temp.path() / "voc/JPEGImages/p1.png"));
  CHECK(fs::exists(temp.path() / "voc/JPEGImages/p1-2.png"));
  splits.resize(1);
  splits[0].name = "all";
  write_dataset(temp.path() / "csv", DatasetFormat::csv, splits, PictureMode::none);
  CHECK(!fs::exists(temp.path() / "csv/images"));
  CHECK(read_dataset(temp.path() / "csv/all.csv", "all", {}).images.size() == 3);
  write_dataset(temp.path() / "yolo", DatasetFormat::yolo, splits, PictureMode::link);
  CHECK(fs::is_symlink(temp.path() / "yolo/images/all/p0.png"));
  CHECK(read_dataset(temp.path() / "yolo", "train", {}).images.size() == 3);
}

TEST_CASE("writers: what exists is not overwritten, what fails leaves nothing") {
  const test::TempDir temp;
  std::vector<NamedSplit> splits = awkward(temp.path() / "source");
  const fs::path out = temp.path() / "out";
  const auto refusal = [&] {
    return error_of([&] { write_dataset(out, DatasetFormat::coco, splits, PictureMode::copy); });
  };
  fs::create_directories(out);
  write_file(out / "x", "");
  CHECK(contains(refusal(), "expected a new or empty folder"));
  fs::remove_all(out);
  fs::remove(splits[1].set.images[1].path);
  CHECK(contains(refusal(), "cannot be copied to"));
  splits[1].set.class_names.pop_back();
  CHECK(contains(refusal(), "have different classes"));
  splits[1] = splits[0];
  CHECK(contains(refusal(), "split 'train' is given twice"));
  splits.resize(1);
  splits[0].name = "../x";
  CHECK(contains(refusal(), "can be a file name"));
  size_t entries = 0;
  for (const auto& entry : fs::directory_iterator(temp.path())) entries += entry.exists();
  CHECK(entries == 1);  // the source
}

TEST_CASE("detections: COCO's numbers of pictures and classes are written and read") {
  const test::TempDir temp;
  const Dataset set = awkward(temp.path())[1].set;
  const std::vector<Detection> found = {{1, 2, 0.5f, {1, 2, 3, 4}}, {0, 0, 0.25f, {5, 6, 7, 8}}};
  const std::string text = detections_to_json(set, found);
  CHECK(contains(text, "\"image_id\": 11, \"category_id\": 90,"));
  CHECK(contains(text, "\"image_id\": 10, \"category_id\": 0,"));
  const fs::path file = temp.path() / "found.json";
  // As other programs write it: without names.
  write_file(file, R"([{"image_id": 11, "category_id": 90, "bbox": [1, 2, 2, 2], "score": 0.5}])");
  const auto read = read_detections_json(file, set);
  CHECK(read.at(0).image == 1);
  CHECK(read.at(0).label == 2);
  write_file(file, R"([{"image_id": 11, "category_id": 1, "bbox": [1, 2, 2, 2], "score": 0.5}])");
  CHECK(contains(error_of([&] { read_detections_json(file, set); }),
                 "category_id 1 is none of 0, 44, 90"));
}

}  // namespace
}  // namespace frcnn
