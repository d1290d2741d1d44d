#include "data/loader.h"

#include <algorithm>
#include <set>

#include "tests/data/voc_maker.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

/// Pictures whose gray value tells them apart.
class LoaderSet {
 public:
  explicit LoaderSet(int images) {
    VocMaker voc(temp_.path());
    for (int i = 0; i < images; ++i) {
      const std::string id = fmt::format("p{:02}", i);
      voc.add(id, object_xml("cat", "1", "1", std::to_string(20 + i), "48"));
      write_image(Image(64, 48, static_cast<uint8_t>(10 * i)), picture(id));
    }
    set = voc.read();
  }
  std::filesystem::path picture(const std::string& id) const {
    return temp_.path() / "JPEGImages" / (id + ".png");
  }
  Dataset set;

 private:
  TempDir temp_;
};

LoaderSettings small_settings() {
  LoaderSettings settings;
  settings.input.shorter_side = 24;
  settings.input.longer_side = 40;
  settings.input.mean = {0, 0, 0};
  settings.batch = 2;
  settings.seed = 5;
  return settings;
}

/// What matters of a sample, as text.
std::string key(const Sample& sample) {
  return fmt::format("{}{}:{:g}:{:g}", sample.id, sample.flipped ? "<" : ">", sample.pixels.at(0),
                     sample.boxes.at(0).x1);
}

std::vector<std::string> take(Loader& loader, int batches,
                              std::vector<LoaderCursor>* cursors = nullptr) {
  std::vector<std::string> keys;
  for (int i = 0; i < batches; ++i) {
    const Batch batch = loader.next();
    for (const Sample& sample : batch.samples) keys.push_back(key(sample));
    if (cursors != nullptr) cursors->push_back(batch.cursor);
  }
  return keys;
}

}  // namespace

TEST_CASE("Loader: the order is a new permutation each epoch, given by the seed") {
  for (const int64_t images : {1, 2, 7, 100}) {
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      std::vector<int64_t> order = epoch_order(images, 9, epoch);
      CHECK(order == epoch_order(images, 9, epoch));
      std::sort(order.begin(), order.end());
      for (int64_t i = 0; i < images; ++i) REQUIRE(order[static_cast<size_t>(i)] == i);
    }
  }
  CHECK(epoch_order(100, 9, 0) != epoch_order(100, 9, 1));
  CHECK(epoch_order(100, 9, 0) != epoch_order(100, 10, 0));
  // Every picture comes first about equally often.
  std::vector<int> first(10);
  for (int64_t epoch = 0; epoch < 2000; ++epoch)
    ++first[static_cast<size_t>(epoch_order(10, 1, epoch)[0])];
  CHECK(*std::min_element(first.begin(), first.end()) > 140);
  CHECK(*std::max_element(first.begin(), first.end()) < 260);
  int flips = 0;
  for (int64_t index = 0; index < 2000; ++index) flips += epoch_flip(1, 3, index);
  CHECK(std::abs(flips - 1000) < 100);
}

TEST_CASE("Loader: any number of workers gives the same stream") {
  const LoaderSet data(7);
  LoaderSettings settings = small_settings();
  Loader base(data.set, settings);
  const std::vector<std::string> expected = take(base, 12);  // over three ends of an epoch
  REQUIRE(expected.size() == 24);
  for (const int workers : {2, 5}) {
    for (const int prefetch : {1, 3}) {
      settings.workers = workers;
      settings.prefetch = prefetch;
      Loader loader(data.set, settings);
      CHECK(take(loader, 12) == expected);
    }
  }
  settings.seed = 6;
  Loader other(data.set, settings);
  CHECK(take(other, 12) != expected);
}

TEST_CASE("Loader: multi-scale sizes follow from seed, epoch and picture alone") {
  const LoaderSet data(7);
  LoaderSettings settings = small_settings();
  settings.shorter_sides = {12, 18, 24};
  const auto sizes = [&](const LoaderSettings& s, LoaderCursor start, int batches) {
    Loader loader(data.set, s, start);
    std::vector<std::tuple<std::string, int, int>> all;
    for (int i = 0; i < batches; ++i)
      for (const Sample& x : loader.next().samples) all.emplace_back(x.id, x.height, x.width);
    return all;
  };
  settings.batch = 1;
  const auto whole = sizes(settings, {}, 21);
  std::set<int> heights;
  int changed = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    const auto& [id, h, w] = whole[i];
    heights.insert(h);
    CHECK(w == h * 4 / 3);
    const auto epoch = static_cast<int64_t>(i / 7);
    const auto index = std::stoll(id.substr(1));
    CHECK(h == settings.shorter_sides[static_cast<size_t>(epoch_scale(5, epoch, index, 3))]);
    changed += epoch_scale(5, epoch, index, 3) != epoch_scale(5, epoch + 1, index, 3);
  }
  CHECK(heights == std::set<int>{12, 18, 24});
  CHECK(changed > 5);
  settings.workers = 3;
  CHECK(sizes(settings, {}, 21) == whole);
  const auto rest = sizes(settings, {1, 2}, 12);
  CHECK(std::equal(rest.begin(), rest.end(), whole.begin() + 9));
  // A batch holds its pictures in order of their sizes.
  settings.batch = 5;
  Loader loader(data.set, settings);
  const Batch batch = loader.next();
  CHECK(std::is_sorted(batch.samples.begin(), batch.samples.end(),
                       [](const Sample& a, const Sample& b) { return a.height < b.height; }));
  CHECK(batch.samples.front().height < batch.samples.back().height);
}

TEST_CASE("Loader: each epoch holds every picture once, batches run over its end") {
  const LoaderSet data(7);
  Loader loader(data.set, small_settings());
  CHECK(loader.batches_per_epoch() == 4);
  std::vector<LoaderCursor> cursors;
  const std::vector<std::string> keys = take(loader, 7, &cursors);
  for (size_t epoch = 0; epoch < 2; ++epoch) {
    std::set<std::string> ids;
    for (size_t i = 0; i < 7; ++i) ids.insert(keys[epoch * 7 + i].substr(0, 3));
    CHECK(ids.size() == 7);
  }
  CHECK(cursors[0] == LoaderCursor{0, 2});
  CHECK(cursors[3] == LoaderCursor{1, 1});
  CHECK(loader.wait_seconds() >= 0);
}

TEST_CASE("Loader: a stream goes on from any cursor as if never interrupted") {
  const LoaderSet data(7);
  LoaderSettings settings = small_settings();
  Loader whole(data.set, settings);
  std::vector<LoaderCursor> cursors;
  const std::vector<std::string> expected = take(whole, 10, &cursors);
  settings.workers = 2;
  for (size_t stop = 0; stop < 8; ++stop) {
    Loader resumed(data.set, settings, cursors[stop]);
    const auto rest = static_cast<ptrdiff_t>(2 * (stop + 1));
    CHECK(take(resumed, static_cast<int>(9 - stop)) ==
          std::vector<std::string>(expected.begin() + rest, expected.end()));
  }
  Loader at_end(data.set, settings, {0, 7});
  CHECK(at_end.next().cursor == LoaderCursor{1, 2});
}

TEST_CASE("Loader: one epoch in the data set's order, then nothing") {
  const LoaderSet data(5);
  LoaderSettings settings = small_settings();
  settings.shuffle = settings.flip = settings.endless = false;
  settings.workers = 2;
  Loader loader(data.set, settings);
  const std::vector<std::string> keys = take(loader, 3);
  REQUIRE(keys.size() == 5);
  for (size_t i = 0; i < 5; ++i) CHECK(keys[i] == fmt::format("p0{}>:{}:0", i, 10 * i));
  CHECK(loader.next().samples.empty());
  CHECK(loader.next().samples.empty());
}

TEST_CASE("Loader: flips mirror pixels and boxes, about half of the time") {
  const LoaderSet data(6);
  LoaderSettings settings = small_settings();
  Loader loader(data.set, settings);
  int flipped = 0;
  for (int i = 0; i < 60; ++i) {
    for (const Sample& sample : loader.next().samples) {
      flipped += sample.flipped;
      const float width =
          static_cast<float>(20 + sample.index) * static_cast<float>(sample.scale_x);
      CHECK(sample.boxes[0].width() == Approx(width));
      CHECK(sample.boxes[0].x1 == Approx(sample.flipped ? 32 - width : 0).margin(1e-4));
    }
  }
  CHECK(flipped > 35);
  CHECK(flipped < 85);
}

TEST_CASE("Bad input: an undecodable picture is an error when its turn comes, naming it") {
  const LoaderSet data(5);
  LoaderSettings settings = small_settings();
  settings.shuffle = settings.flip = false;
  settings.batch = 1;
  settings.workers = 2;
  write_file(data.picture("p02"), "this was a picture");
  Loader loader(data.set, settings);
  CHECK(take(loader, 2).size() == 2);
  for (int again = 0; again < 2; ++again)
    CHECK(contains(error_of([&] { loader.next(); }), "p02.png: expected a picture"));
  write_image(Image(20, 20), data.picture("p02"));
  Loader other(data.set, settings, {0, 2});
  CHECK(contains(error_of([&] { other.next(); }),
                 "p02.png: expected a picture of 64x48 as in its annotation, found 20x20"));
  std::filesystem::remove(data.picture("p02"));
  Loader third(data.set, settings, {0, 2});
  CHECK(contains(error_of([&] { third.next(); }), "p02.png: cannot be read"));
}

TEST_CASE("Loader: stops at once when nobody takes its batches, and rejects empty sets") {
  const LoaderSet data(5);
  LoaderSettings settings = small_settings();
  settings.workers = 3;
  for (int i = 0; i < 20; ++i) Loader unused(data.set, settings);
  CHECK(contains(error_of([&] { Loader loader(Dataset{}, settings); }), "an empty data set"));
  CHECK(contains(error_of([&] {
                   Loader loader(data.set, settings, {0, 6});
                 }),
                 "[loader] expected a start"));
  settings.batch = 0;
  CHECK(
      contains(error_of([&] { Loader loader(data.set, settings); }), "[loader] expected a batch"));
}
