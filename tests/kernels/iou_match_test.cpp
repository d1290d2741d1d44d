#include "kernels/boxes/iou_match.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>

#include "kernels/boxes/anchors.h"
#include "kernels/launch/parallel.h"
#include "tests/kernels/box_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

template <typename T>
struct Best {
  std::vector<T> iou, object;
  std::vector<int32_t> index;
};

template <typename T>
Best<T> best(const std::vector<T>& boxes, const std::vector<T>& truth,
             const std::vector<uint8_t>& skip = {}) {
  const size_t count = boxes.size() / 4, objects = truth.size() / 4;
  GuardedBuffer<T> iou(count), object(objects);
  GuardedBuffer<int32_t> index(count);
  cpu::iou_best(static_cast<int64_t>(count), static_cast<int64_t>(objects), boxes.data(),
                truth.data(), skip.empty() ? nullptr : skip.data(), iou.data(), index.data(),
                object.data());
  CHECK((iou.guards_intact() && object.guards_intact() && index.guards_intact()));
  return {{iou.data(), iou.data() + count},
          {object.data(), object.data() + objects},
          {index.data(), index.data() + count}};
}

template <typename T>
std::vector<int32_t> labels(const MatchParams& params, const std::vector<T>& boxes,
                            const std::vector<T>& truth, const std::vector<uint8_t>& skip = {}) {
  const Best<T> b = best(boxes, truth, skip);
  const size_t count = boxes.size() / 4;
  GuardedBuffer<int32_t> out(count);
  cpu::match_labels(params, static_cast<int64_t>(count), static_cast<int64_t>(truth.size() / 4),
                    boxes.data(), truth.data(), skip.empty() ? nullptr : skip.data(), b.iou.data(),
                    params.match_best ? b.object.data() : nullptr, out.data());
  CHECK(out.guards_intact());
  return {out.data(), out.data() + count};
}

std::vector<int32_t> as_int32(const std::vector<int64_t>& values) {
  return {values.begin(), values.end()};
}

/// Largest resident set since the last reset, in bytes (proc(5)); 0 where the system does not say.
double peak_bytes() {
  std::ifstream file("/proc/self/status");
  std::string word;
  double kib = 0;
  while (file >> word)
    if (word == "VmHWM:") file >> kib;
  return kib * 1024;
}

}  // namespace

TEST_CASE("iou: equals torchvision's, with equal, empty and touching boxes") {
  const auto a = golden_f32("boxes", "iou/a"), b = golden_f32("boxes", "iou/b");
  const auto expected = golden_f32("boxes", "iou/iou");
  const size_t objects = b.values.size() / 4;
  std::vector<float> all(expected.values.size());
  for (size_t g = 0; g < objects; ++g) {
    const std::vector<float> object(b.values.begin() + static_cast<int64_t>(4 * g),
                                    b.values.begin() + static_cast<int64_t>(4 * g + 4));
    const Best<float> one = best(a.values, object);
    for (size_t i = 0; i < one.iou.size(); ++i) all[i * objects + g] = one.iou[i];
  }
  FRCNN_CHECK_SAME(all, expected.values, 0, 0);
}

TEST_CASE("A6 match: best overlaps and labels equal torchvision's, ties included") {
  const auto anchors = golden_f32("boxes", "match/anchors").values;
  const auto truth = golden_f32("boxes", "match/truth").values;
  const Best<float> b = best(anchors, truth);
  FRCNN_CHECK_SAME(b.iou, golden_f32("boxes", "match/best_iou").values, 0, 0);
  FRCNN_CHECK_SAME(b.index, as_int32(golden_i64("boxes", "match/best").values));
  FRCNN_CHECK_SAME(b.object, golden_f32("boxes", "match/object_best").values, 0, 0);
  MatchParams p;
  FRCNN_CHECK_SAME(labels(p, anchors, truth),
                   as_int32(golden_i64("boxes", "match/labels_1").values));
  p.match_best = false;
  FRCNN_CHECK_SAME(labels(p, anchors, truth),
                   as_int32(golden_i64("boxes", "match/labels_0").values));
}

TEST_CASE("A6 match: positive from 0.7, negative below 0.3, the rest ignored") {
  // One object of 100 x 100; boxes of its height and w wide inside it have IoU w / 100.
  const std::vector<double> truth = {0, 0, 100, 100};
  std::vector<double> boxes;
  for (const double w : {71.0, 70.0, 69.0, 30.0, 29.0, 1.0})
    boxes.insert(boxes.end(), {0, 0, w, 100});
  boxes.insert(boxes.end(), {200, 200, 300, 300});
  MatchParams p;
  p.match_best = false;
  CHECK(labels(p, boxes, truth) == std::vector<int32_t>{1, 1, -1, -1, 0, 0, 0});
}

TEST_CASE("A6 match: the best boxes of an object are positive at any overlap above 0") {
  // The object's best overlap is 0.1, of two boxes; the last object has none at all.
  const std::vector<float> truth = {0, 0, 100, 100, 1000, 1000, 1010, 1010};
  const std::vector<float> boxes = {0, 0, 10, 100, 90,  0,   100, 100,
                                    0, 0, 9,  100, 500, 500, 600, 600};
  CHECK(labels({}, boxes, truth) == std::vector<int32_t>{1, 1, 0, 0});
  MatchParams p;
  p.match_best = false;
  CHECK(labels(p, boxes, truth) == std::vector<int32_t>{0, 0, 0, 0});
}

TEST_CASE("F3 match: no slack on the best box, and negatives don't overwrite positives") {
  // 0.25 is the object's best; 0.245 is within 0.01 of it and stays negative.
  const std::vector<double> truth = {0, 0, 100, 100};
  const std::vector<double> boxes = {0, 0, 25, 100, 0, 0, 24.5, 100};
  CHECK(labels({}, boxes, truth) == std::vector<int32_t>{1, 0});
}

TEST_CASE("match: equals the definition on many random boxes, float and double") {
  const auto run = [](auto zero, size_t count, size_t objects) {
    using T = decltype(zero);
    const auto boxes = clustered_boxes<T>(count, 20, 300, 5 + count);
    const auto truth = clustered_boxes<T>(objects, 20, 300, 5 + count);
    const Best<T> b = best(boxes, truth);
    for (size_t i = 0; i < count; ++i) {
      double most = 0, at_index = 0;
      for (size_t g = 0; g < objects; ++g)
        most = std::max(most, naive_iou(&boxes[4 * i], &truth[4 * g]));
      at_index = naive_iou(&boxes[4 * i], &truth[4 * static_cast<size_t>(b.index[i])]);
      if (!(std::abs(static_cast<double>(b.iou[i]) - most) < 1e-6 &&
            std::abs(at_index - most) < 1e-6))
        FAIL_CHECK("box " << i << ": " << b.iou[i] << ", expected " << most);
    }
  };
  for (const size_t count : {1, 15, 16, 17, 255, 256, 257, 5000}) run(0.0f, count, 9);
  run(0.0, 700, 9);
  run(0.0f, 300, 1);
}

TEST_CASE("match: skipped boxes are ignored and don't count for the objects") {
  const std::vector<float> truth = {0, 0, 100, 100};
  const std::vector<float> boxes = {0, 0, 100, 100, 0, 0, 50, 100, 0, 0, 20, 100};
  const std::vector<uint8_t> skip = {1, 0, 0};
  const Best<float> b = best(boxes, truth, skip);
  CHECK(b.iou == std::vector<float>{-1, 0.5f, 0.2f});
  CHECK(b.index == std::vector<int32_t>{-1, 0, 0});
  CHECK(b.object == std::vector<float>{0.5f});
  CHECK(labels({}, boxes, truth, skip) == std::vector<int32_t>{-1, 1, 0});
}

TEST_CASE("match: no boxes, no objects") {
  const std::vector<float> none, one = {0, 0, 5, 5};
  CHECK(best(none, one).object == std::vector<float>{0});
  CHECK(labels({}, none, one).empty());
  CHECK(best(one, none).iou == std::vector<float>{0});
  CHECK(best(one, none).index == std::vector<int32_t>{-1});
  CHECK(labels({}, one, none) == std::vector<int32_t>{0});
  CHECK(labels({}, none, none).empty());
}

TEST_CASE("match: of equal overlaps the first object") {
  const std::vector<float> truth = {0, 0, 10, 10, 0, 0, 10, 10};
  CHECK(best({0, 0, 10, 10}, truth).index == std::vector<int32_t>{0});
}

TEST_CASE("match: shifting and scaling boxes and objects together changes nothing") {
  auto boxes = clustered_boxes<double>(500, 6, 200, 3);
  auto truth = clustered_boxes<double>(6, 6, 200, 3);
  const auto before = labels({}, boxes, truth);
  CHECK(std::count(before.begin(), before.end(), 1) > 5);
  for (auto* set : {&boxes, &truth})
    for (double& v : *set) v = 2 * v + 64;  // exact in double
  FRCNN_CHECK_SAME(labels({}, boxes, truth), before);
}

TEST_CASE("match: the same bits with any number of threads") {
  const auto boxes = random_boxes<float>(20000, 900, 5, 300, 8);
  const auto truth = random_boxes<float>(20, 900, 20, 300, 9);
  const int threads = num_threads();
  set_num_threads(1);
  const Best<float> one = best(boxes, truth);
  const auto labels_one = labels({}, boxes, truth);
  for (const int n : {2, 3, 5}) {
    set_num_threads(n);
    const Best<float> many = best(boxes, truth);
    CHECK((one.iou == many.iou && one.index == many.index && one.object == many.object));
    CHECK(labels_one == labels({}, boxes, truth));
  }
  set_num_threads(threads);
}

TEST_CASE("match: every object that any box overlaps gets a positive box") {
  // Equal overlaps must compare equal between the two passes, in every lane of the vectors.
  AnchorParams anchors;
  std::vector<float> boxes(static_cast<size_t>(37 * 62 * 9 * 4));
  cpu::grid_anchors(anchors, 37, 62, 16.0, 16.0, boxes.data());
  const auto truth = random_boxes<float>(40, 500, 3, 90, 10);
  for (size_t g = 0; g < 40; ++g) {
    const std::vector<float> object(truth.begin() + static_cast<int64_t>(4 * g),
                                    truth.begin() + static_cast<int64_t>(4 * g + 4));
    const auto found = labels({}, boxes, object);
    CHECK(std::count(found.begin(), found.end(), 1) > 0);
  }
}

TEST_CASE("match: a box that is NaN has no overlap and is no object's best") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> boxes = {nan, nan, nan, nan, 0, 0, 10, 10};
  const Best<float> b = best(boxes, {0, 0, 10, 20});
  CHECK(b.iou == std::vector<float>{0, 0.5f});
  CHECK(b.object == std::vector<float>{0.5f});
}

TEST_CASE("matching: 20,646 boxes with 5,000 objects add less than 64 MiB of memory") {
  constexpr int64_t kBoxes = 20646, kObjects = 5000;
  const auto boxes = random_boxes<float>(kBoxes, 900, 16, 300, 1);
  const auto truth = random_boxes<float>(kObjects, 900, 16, 300, 2);
  std::vector<float> iou(kBoxes), object(kObjects);
  std::vector<int32_t> index(kBoxes), out(kBoxes);
  // All overlaps at once would be 394 MiB. The mark goes back to what is in use now.
  if (!(std::ofstream("/proc/self/clear_refs") << "5" << std::flush) || peak_bytes() == 0) {
    WARN("[skipped] this system does not say how much memory was used");
    return;
  }
  const double before = peak_bytes();
  cpu::iou_best<float>(kBoxes, kObjects, boxes.data(), truth.data(), nullptr, iou.data(),
                       index.data(), object.data());
  cpu::match_labels<float>({}, kBoxes, kObjects, boxes.data(), truth.data(), nullptr, iou.data(),
                           object.data(), out.data());
  CHECK(peak_bytes() - before < double{64 << 20});
  // The mark does move: as much memory as the property forbids is seen.
  std::vector<char> large(size_t{128} << 20);
  for (size_t i = 0; i < large.size(); i += 4096) large[i] = 1;
  CHECK(peak_bytes() - before > double{64 << 20});
}
