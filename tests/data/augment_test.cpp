#include "data/augment.h"

#include <array>
#include <cmath>
#include <set>

#include "data/loader.h"
#include "tests/data/voc_maker.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

constexpr std::array<std::array<uint8_t, 3>, 5> kPaint = {
    {{250, 20, 20}, {20, 250, 20}, {20, 20, 250}, {250, 250, 20}, {250, 20, 250}}};
constexpr uint8_t kGround = 100;

/// A gray picture with a filled rectangle of its class's colour under each object, which don't
/// overlap.
LabelledPicture planted(int width, int height, uint64_t seed) {
  LabelledPicture p{Image(width, height, kGround), {}};
  const auto r = random_vector<double>(64, 0, 1, seed);
  for (size_t i = 0; i < kPaint.size(); ++i) {
    // Each in a column of its own.
    const int slot = width / static_cast<int>(kPaint.size());
    const int w = 4 + static_cast<int>(r[4 * i] * (slot - 6)),
              h = 5 + static_cast<int>(r[4 * i + 1] * (height / 2));
    const int x = static_cast<int>(i) * slot + static_cast<int>(r[4 * i + 2] * (slot - w));
    const int y = static_cast<int>(r[4 * i + 3] * (height - h));
    for (int row = y; row < y + h; ++row)
      for (int column = x; column < x + w; ++column)
        std::copy(kPaint[i].begin(), kPaint[i].end(), p.image.pixel(column, row));
    Object object;
    object.box = {float(x), float(y), float(x + w), float(y + h)};
    object.label = static_cast<int>(i);
    p.objects.push_back(object);
  }
  return p;
}

/// Whether a pixel has about the colour of a class.
bool painted(const uint8_t* pixel, int label, int tolerance = 40) {
  for (size_t c = 0; c < 3; ++c)
    if (std::abs(pixel[c] - kPaint[static_cast<size_t>(label)][c]) > tolerance) return false;
  return true;
}

/// Empty when every box lies in the picture, is filled with its colour up to `border` pixels from
/// its sides, and its colour is nowhere else farther than `border` from boxes of its class. With
/// `dropped`, objects may have been left out, and with them their pixels' boxes.
std::string contents_wrong(const LabelledPicture& p, int border, bool dropped) {
  const Image& image = p.image;
  for (const Object& o : p.objects) {
    const Box& b = o.box;
    if (!(b.x1 >= 0 && b.y1 >= 0 && b.x2 <= float(image.width) && b.y2 <= float(image.height) &&
          b.x2 > b.x1 && b.y2 > b.y1))
      return fmt::format("box ({}, {}, {}, {}) in {} x {}", b.x1, b.y1, b.x2, b.y2, image.width,
                         image.height);
    for (int y = int(std::ceil(b.y1)) + border; y < int(b.y2) - border; ++y)
      for (int x = int(std::ceil(b.x1)) + border; x < int(b.x2) - border; ++x)
        if (!painted(image.pixel(x, y), o.label))
          return fmt::format("class {} is not at ({}, {})", o.label, x, y);
  }
  if (dropped) return "";
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x)
      for (int label = 0; label < int(kPaint.size()); ++label) {
        if (!painted(image.pixel(x, y), label, 10)) continue;
        const bool inside = std::ranges::any_of(p.objects, [&](const Object& o) {
          return o.label == label && x + 1 + border > o.box.x1 && x - border < o.box.x2 &&
                 y + 1 + border > o.box.y1 && y - border < o.box.y2;
        });
        if (!inside) return fmt::format("class {} at ({}, {}) has no box", label, x, y);
      }
  return "";
}

}  // namespace

TEST_CASE("augmentation: the planted pictures are right") {
  for (uint64_t seed = 0; seed < 5; ++seed)
    CHECK(contents_wrong(planted(90, 60, seed), 0, false) == "");
  LabelledPicture moved = planted(90, 60, 1);
  moved.objects[2].box.x1 -= 3;
  CHECK(contents_wrong(moved, 0, false) != "");
  moved = planted(90, 60, 1);
  moved.objects.pop_back();
  CHECK(contents_wrong(moved, 0, false) != "");
}

TEST_CASE("augmentation: rotated objects lie under their boxes, and four turns are none") {
  const LabelledPicture p = planted(90, 60, 3);
  for (int turns = 1; turns <= 3; ++turns) {
    const LabelledPicture r = rotate(p, turns);
    CHECK(contents_wrong(r, 0, false) == "");
    CHECK(r.image.width == (turns == 2 ? 90 : 60));
    const LabelledPicture back = rotate(r, 4 - turns);
    CHECK(back.image == p.image);
    for (size_t i = 0; i < p.objects.size(); ++i) CHECK(back.objects[i].box == p.objects[i].box);
  }
  // Clockwise: the top left corner becomes the top right one.
  LabelledPicture corner{Image(3, 2, 0), {}};
  corner.image.pixel(0, 0)[0] = 255;
  CHECK(rotate(corner, 1).image.pixel(1, 0)[0] == 255);
  CHECK_THROWS_AS(rotate(p, 4), Error);
}

TEST_CASE("augmentation: a crop keeps the objects whose centres are inside, clipped") {
  const LabelledPicture p = planted(90, 60, 4);
  for (int i = 0; i < 40; ++i) {
    const auto r = random_vector<double>(4, 0, 1, 70 + static_cast<uint64_t>(i));
    Window w;
    w.width = 20 + int(r[0] * 70), w.height = 15 + int(r[1] * 45);
    w.x = int(r[2] * (90 - w.width)), w.y = int(r[3] * (60 - w.height));
    const LabelledPicture c = crop(p, w);
    INFO(fmt::format("{} {} {} {}", w.x, w.y, w.width, w.height));
    CHECK(c.image.width == w.width);
    CHECK(contents_wrong(c, 0, true) == "");
    size_t inside = 0;
    for (const Object& o : p.objects) {
      const float x = (o.box.x1 + o.box.x2) / 2, y = (o.box.y1 + o.box.y2) / 2;
      inside += x >= float(w.x) && x < float(w.x + w.width) && y >= float(w.y) &&
                y < float(w.y + w.height);
    }
    CHECK(c.objects.size() == inside);
  }
  CHECK(crop(p, {0, 0, 90, 60}).image == p.image);
  CHECK(!crop(p, {0, 0, 90, 60}).objects[0].truncated);
  const Box& b = p.objects[1].box;
  const int left = int(b.x1) + 1;
  const LabelledPicture cut = crop(p, {left, 0, 90 - left, 60});
  REQUIRE(!cut.objects.empty());
  CHECK(cut.objects[0].label == 1);
  CHECK(cut.objects[0].truncated);
  CHECK(cut.objects[0].box.x1 == 0);
  CHECK_THROWS_AS(crop(p, {1, 0, 90, 60}), Error);
  CHECK_THROWS_AS(crop(p, {0, 0, 0, 60}), Error);
}

TEST_CASE("augmentation: the objects of a mosaic lie under their boxes") {
  const std::array<LabelledPicture, 4> p = {planted(90, 60, 5), planted(120, 200, 6),
                                            planted(300, 80, 7), planted(64, 64, 8)};
  for (const auto& [x, y] : std::vector<std::pair<int, int>>{{45, 30}, {30, 40}, {60, 20}}) {
    const LabelledPicture m = mosaic({&p[0], &p[1], &p[2], &p[3]}, x, y);
    CHECK(m.image.width == 90);
    CHECK(m.image.height == 60);
    CHECK(contents_wrong(m, 3, true) == "");
    std::array<int, 4> per_quadrant{};
    for (const Object& o : m.objects) {
      const bool right = o.box.x1 >= float(x), lower = o.box.y1 >= float(y);
      CHECK((right || o.box.x2 <= float(x)));  // no object crosses into another quadrant
      CHECK((lower || o.box.y2 <= float(y)));
      ++per_quadrant[size_t(right) + 2 * size_t(lower)];
    }
    CHECK(per_quadrant[0] > 0);
    CHECK(per_quadrant[3] > 0);
  }
  CHECK_THROWS_AS(mosaic({&p[0], &p[1], &p[2], &p[3]}, 0, 30), Error);
}

TEST_CASE("augmentation: colours change as their definitions say") {
  const Image noise = [] {
    Image image(20, 10);
    const auto v = random_vector<float>(image.rgb.size(), 0, 256, 9);
    for (size_t i = 0; i < v.size(); ++i) image.rgb[i] = static_cast<uint8_t>(v[i]);
    return image;
  }();
  CHECK(change_colours(noise, 1, 1, 1, 0) == noise);
  const auto pixel = [](const Image& image) {
    return std::array<int, 3>{image.rgb[0], image.rgb[1], image.rgb[2]};
  };
  const auto one = [](int r, int g, int b) {
    Image image(1, 1);
    image.rgb = {uint8_t(r), uint8_t(g), uint8_t(b)};
    return image;
  };
  CHECK(pixel(change_colours(one(40, 60, 130), 2, 1, 1, 0)) == std::array<int, 3>{80, 120, 255});
  CHECK(pixel(change_colours(one(40, 60, 130), 0, 1, 1, 0)) == std::array<int, 3>{0, 0, 0});
  // 0.299 * 100 + 0.587 * 200 + 0.114 * 50 = 153
  CHECK(pixel(change_colours(one(100, 200, 50), 1, 1, 0, 0)) == std::array<int, 3>{153, 153, 153});
  CHECK(pixel(change_colours(one(200, 50, 50), 1, 1, 1, 1.0 / 3)) ==
        std::array<int, 3>{50, 200, 50});
  CHECK(pixel(change_colours(one(200, 50, 50), 1, 1, 1, -1.0 / 3)) ==
        std::array<int, 3>{50, 50, 200});
  CHECK(pixel(change_colours(one(10, 90, 70), 1, 1, 1, 0.5)) == std::array<int, 3>{90, 10, 30});
  CHECK(pixel(change_colours(one(80, 80, 80), 1, 1, 1, 0.3)) == std::array<int, 3>{80, 80, 80});
  Image two(2, 1);
  two.rgb = {100, 100, 100, 200, 200, 200};  // mean 150
  CHECK(change_colours(two, 1, 0, 1, 0).rgb == std::vector<uint8_t>(6, 150));
  CHECK(change_colours(two, 1, 1.2, 1, 0).rgb == std::vector<uint8_t>{90, 90, 90, 210, 210, 210});
}

TEST_CASE("augmentation: random windows keep to their settings") {
  AugmentSettings settings;
  settings.crop = 0.5;
  settings.crop_min_iou = {};
  int64_t cropped = 0;
  std::set<int> widths;
  for (int64_t i = 0; i < 600; ++i) {
    const LabelledPicture p = planted(90, 60, static_cast<uint64_t>(i % 7));
    const Window w = draw_window(settings, {3, i % 5, i}, p);
    REQUIRE(w.x >= 0);
    REQUIRE(w.y >= 0);
    REQUIRE(w.width >= 1);
    REQUIRE(w.x + w.width <= 90);
    REQUIRE(w.y + w.height <= 60);
    if (w.width == 90 && w.height == 60) continue;
    ++cropped;
    widths.insert(w.width);
    CHECK(w.width * w.height >= 0.27 * 90 * 60);  // whole pixels
    CHECK(double(w.width) / w.height > 0.45);
    CHECK(double(w.width) / w.height < 2.2);
    CHECK(!crop(p, w).objects.empty());
  }
  CHECK(cropped > 200);
  CHECK(cropped < 320);
  CHECK(widths.size() > 30);
  // With a high limit no window fits the small objects: the picture stays whole.
  settings.crop = 1;
  settings.crop_min_iou = {0.9};
  const LabelledPicture p = planted(90, 60, 1);
  CHECK(draw_window(settings, {1, 0, 0}, p).width == 90);
  // A picture without objects may be cropped anywhere.
  CHECK(draw_window(settings, {1, 0, 0}, {p.image, {}}).width < 90);
}

TEST_CASE("augmentation: what is drawn depends on seed, epoch and picture") {
  AugmentSettings settings;
  settings.crop = settings.rotate = 1;
  settings.brightness = 0.5;
  const LabelledPicture p = planted(90, 60, 2);
  const auto image = [&](const AugmentKey& key) { return augment(p, settings, key).image; };
  CHECK(image({1, 2, 3}) == image({1, 2, 3}));
  CHECK(!(image({1, 2, 3}) == image({2, 2, 3})));
  CHECK(!(image({1, 2, 3}) == image({1, 3, 3})));
  CHECK(!(image({1, 2, 3}) == image({1, 2, 4})));
  CHECK(augment(p, AugmentSettings(), {1, 2, 3}).image == p.image);
  std::array<int, 4> turned{};
  settings.crop = settings.brightness = 0;
  settings.rotate = 0.75;
  for (int64_t i = 0; i < 400; ++i) {
    const LabelledPicture r = augment(p, settings, {1, 0, i});
    int turns = 0;
    for (int k = 1; k <= 3; ++k)
      if (r.image == rotate(p, k).image) turns = k;
    ++turned[static_cast<size_t>(turns)];
  }
  for (const int count : turned) CHECK(std::abs(count - 100) < 40);
  std::set<int64_t> partners;
  for (int64_t i = 0; i < 50; ++i)
    for (const int64_t partner : mosaic_partners({1, 0, i}, 6)) partners.insert(partner);
  CHECK(partners == std::set<int64_t>{0, 1, 2, 3, 4, 5});
}

TEST_CASE("augmentation: the loader's samples have their objects under their boxes") {
  const TempDir temp;
  VocMaker voc(temp.path());
  const std::vector<std::string> names = {"a", "b", "c", "d", "e"};
  for (int i = 0; i < 6; ++i) {
    const int width = i % 2 ? 150 : 220, height = i % 2 ? 200 : 140;
    const LabelledPicture p = planted(width, height, 20 + static_cast<uint64_t>(i));
    std::string xml = fmt::format("<annotation><size><width>{}</width><height>{}</height></size>\n",
                                  width, height);
    for (const Object& o : p.objects)
      xml += object_xml(names[static_cast<size_t>(o.label)], fmt::format("{}", o.box.x1 + 1),
                        fmt::format("{}", o.box.y1 + 1), fmt::format("{}", o.box.x2),
                        fmt::format("{}", o.box.y2));
    voc.annotate(fmt::format("p{}", i), xml + "</annotation>\n");
    write_image(p.image, temp.path() / "JPEGImages" / fmt::format("p{}.png", i));
  }
  const Dataset set = voc.read();
  LoaderSettings settings;
  settings.input = {false, 1, {0, 0, 0}, {1, 1, 1}, 160, 300};
  settings.seed = 3;
  settings.augment.crop = settings.augment.rotate = settings.augment.mosaic = 0.5;
  settings.shorter_sides = {120, 160};
  int64_t objects = 0;
  for (int64_t epoch = 0; epoch < 12; ++epoch)
    for (int64_t i = 0; i < 6; ++i) {
      const Sample s = load_sample(set, settings, epoch, i);
      CHECK(s.index == i);
      LabelledPicture seen{Image(s.width, s.height), {}};
      const size_t plane = static_cast<size_t>(s.width) * static_cast<size_t>(s.height);
      for (size_t k = 0; k < 3 * plane; ++k)
        seen.image.rgb[k % plane * 3 + k / plane] =
            static_cast<uint8_t>(std::lround(std::clamp(s.pixels[k], 0.0F, 255.0F)));
      for (size_t k = 0; k < s.boxes.size(); ++k) {
        Object object;
        object.box = s.boxes[k], object.label = s.labels[k];
        // Rounding of float may pass the border by a last bit.
        object.box.x2 = std::min(object.box.x2, float(s.width));
        object.box.y2 = std::min(object.box.y2, float(s.height));
        CHECK(s.boxes[k].x2 < float(s.width) + 0.01F);
        seen.objects.push_back(object);
        ++objects;
      }
      INFO(fmt::format("epoch {}, picture {}", epoch, i));
      CHECK(contents_wrong(seen, 4, true) == "");
    }
  CHECK(objects > 150);
}

TEST_CASE("augmentation: a resumed loader goes on with the same pictures") {
  const TempDir temp;
  VocMaker voc(temp.path());
  for (int i = 0; i < 5; ++i) {
    const std::string id = fmt::format("p{}", i);
    voc.add(id, object_xml(i == 0 ? "rare" : "cat", "5", "5", std::to_string(20 + i), "40"));
    write_image(planted(64, 48, static_cast<uint64_t>(i)).image,
                temp.path() / "JPEGImages" / (id + ".png"));
  }
  const Dataset set = voc.read();
  LoaderSettings settings;
  settings.input.shorter_side = 32;
  settings.batch = 2;
  settings.balance = 0.8;
  settings.group_shapes = true;
  settings.augment = {0.2, 0.2, 0.2, 0.1, 0.5, 0.3, {0.1}, 0.5, 0.5};
  const auto take = [&](LoaderCursor start, int batches, int workers,
                        std::vector<LoaderCursor>* cursors) {
    settings.workers = workers;
    Loader loader(set, settings, start);
    std::vector<std::vector<float>> all;
    for (int i = 0; i < batches; ++i) {
      const Batch batch = loader.next();
      for (const Sample& s : batch.samples) {
        all.push_back(s.pixels);
        for (const Box& b : s.boxes) all.push_back({b.x1, b.y1, b.x2, b.y2});
      }
      if (cursors) cursors->push_back(batch.cursor);
      all.push_back({});
    }
    return all;
  };
  std::vector<LoaderCursor> cursors;
  const auto whole = take({}, 12, 1, &cursors);
  CHECK(take({}, 12, 3, nullptr) == whole);
  for (const int at : {0, 2, 3, 7}) {
    const auto rest = take(cursors[static_cast<size_t>(at)], 11 - at, 2, nullptr);
    REQUIRE(rest.size() < whole.size());
    CHECK(std::equal(rest.rbegin(), rest.rend(), whole.rbegin()));
  }
}

TEST_CASE("augmentation: without settings a sample is that of the picture") {
  const TempDir temp;
  VocMaker voc(temp.path());
  voc.add("p", object_xml("cat", "5", "5", "30", "40"));
  const Dataset set = voc.read();
  LoaderSettings settings;
  settings.flip = false;
  const Sample a = load_sample(set, settings, 4, 0);
  const Sample b = make_sample(decode_image(set.images[0].path), set.images[0], settings.input);
  CHECK(a.pixels == b.pixels);
  CHECK(a.boxes == b.boxes);
  CHECK(a.id == b.id);
}
