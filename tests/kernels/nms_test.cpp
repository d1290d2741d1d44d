#include "kernels/boxes/nms.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/kernels/box_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

constexpr int64_t kAll = std::numeric_limits<int64_t>::max();

template <typename T>
std::vector<int64_t> nms(const std::vector<T>& boxes, double threshold, int64_t max_keep = kAll,
                         const std::vector<int32_t>& groups = {}) {
  const auto count = static_cast<int64_t>(boxes.size() / 4);
  GuardedBuffer<int64_t> kept(static_cast<size_t>(std::min(count, max_keep)));
  const int64_t n = cpu::nms_sorted(count, threshold, max_keep, boxes.data(),
                                    groups.empty() ? nullptr : groups.data(), kept.data());
  CHECK(kept.guards_intact());
  REQUIRE((n >= 0 && n <= static_cast<int64_t>(kept.size())));
  return {kept.data(), kept.data() + n};
}

/// The definition: every pair of boxes in double.
template <typename T>
std::vector<int64_t> naive(const std::vector<T>& boxes, double threshold,
                           const std::vector<int32_t>& groups = {}) {
  std::vector<int64_t> kept;
  for (size_t i = 0; i < boxes.size() / 4; ++i) {
    bool keep = true;
    for (const int64_t other : kept) {
      const auto k = static_cast<size_t>(other);
      if (!groups.empty() && groups[k] != groups[i]) continue;
      keep = keep && !(naive_iou(&boxes[4 * k], &boxes[4 * i]) > threshold);
    }
    if (keep) kept.push_back(static_cast<int64_t>(i));
  }
  return kept;
}

}  // namespace

TEST_CASE("A20 nms: keeps what torchvision keeps, with ties at the threshold and empty boxes") {
  for (const std::string name : {"clustered", "sparse", "ties", "tenths", "degenerate"})
    for (const int percent : {30, 50, 70}) {
      INFO(name << " " << percent);
      const auto boxes = golden_f32("boxes", "nms_" + name + "/boxes").values;
      const auto expected = golden_i64("boxes", "nms_" + name + "/kept_" + std::to_string(percent));
      FRCNN_CHECK_SAME(nms(boxes, percent / 100.0), expected.values);
    }
}

TEST_CASE("A20 nms: with groups it keeps what torchvision's batched_nms keeps") {
  const auto boxes = golden_f32("boxes", "nms_groups/boxes").values;
  const auto groups = golden_i64("boxes", "nms_groups/groups").values;
  FRCNN_CHECK_SAME(nms(boxes, 0.5, kAll, {groups.begin(), groups.end()}),
                   golden_i64("boxes", "nms_groups/kept_50").values);
}

TEST_CASE("A20 nms: equals the definition on random boxes, 12000 to 2000 and 6000 to 300") {
  // Thresholds that no ratio of these small whole numbers comes close to but for rounding.
  for (const size_t count : {1, 2, 15, 16, 17, 33, 500}) {
    const auto boxes = clustered_boxes<double>(count, 7, 150, count);
    for (const double threshold : {0.1000001, 0.5000001, 0.7000001, 0.9000001})
      FRCNN_CHECK_SAME(nms(boxes, threshold), naive(boxes, threshold));
  }
  struct Size {
    size_t before, after;
  };
  for (const auto [before, after] : {Size{12000, 2000}, Size{6000, 300}}) {
    const auto boxes = clustered_boxes<float>(before, 200, 800, before);
    std::vector<int64_t> expected = naive(boxes, 0.7000001);
    REQUIRE(expected.size() > after);
    expected.resize(after);
    FRCNN_CHECK_SAME(nms(boxes, 0.7000001, static_cast<int64_t>(after)), expected);
  }
}

TEST_CASE("nms: groups don't suppress each other, negative group numbers included") {
  const auto boxes = clustered_boxes<float>(600, 5, 100, 3);
  std::vector<int32_t> groups(600);
  for (size_t i = 0; i < 600; ++i) groups[i] = static_cast<int32_t>(i * 7 % 5) - 2;
  FRCNN_CHECK_SAME(nms(boxes, 0.4000001, kAll, groups), naive(boxes, 0.4000001, groups));
  CHECK(nms<float>({0, 0, 9, 9, 0, 0, 9, 9}, 0.5, kAll, {0, 1}).size() == 2);
  CHECK(nms<float>({0, 0, 9, 9, 0, 0, 9, 9}, 0.5, kAll, {1, 1}).size() == 1);
}

TEST_CASE("nms: an overlap equal to the threshold does not suppress") {
  const std::vector<float> half = {0, 0, 10, 10, 0, 0, 5, 10};
  CHECK(nms(half, 0.5).size() == 2);
  CHECK(nms(half, 0.4999).size() == 1);
  CHECK(nms<double>({0, 0, 10, 10, 0, 0, 10, 10}, 1.0).size() == 2);
}

TEST_CASE("nms: boxes in any order are taken by falling score, NaN last") {
  const size_t count = 1500;
  const auto boxes = clustered_boxes<float>(count, 20, 300, 6);
  std::vector<float> scores = random_vector<float>(count, 0, 1, 7);
  for (float& s : scores) s = static_cast<float>(static_cast<int>(s * 200));  // many ties
  scores[3] = scores[77] = std::numeric_limits<float>::quiet_NaN();
  std::vector<int32_t> groups(count);
  std::vector<int64_t> order(count);
  for (size_t i = 0; i < count; ++i) {
    groups[i] = static_cast<int32_t>(i % 3);
    order[i] = static_cast<int64_t>(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    const float left = scores[static_cast<size_t>(a)], right = scores[static_cast<size_t>(b)];
    return std::isnan(right) ? !std::isnan(left) : left > right;
  });
  std::vector<float> sorted;
  std::vector<int32_t> sorted_groups;
  for (const int64_t i : order) {
    const auto k = static_cast<size_t>(i);
    sorted.insert(sorted.end(), &boxes[4 * k], &boxes[4 * k] + 4);
    sorted_groups.push_back(groups[k]);
  }
  for (const bool grouped : {false, true})
    for (const int64_t most : {kAll, int64_t{50}}) {
      auto expected = nms(sorted, 0.5, most, grouped ? sorted_groups : std::vector<int32_t>{});
      for (int64_t& k : expected) k = order[static_cast<size_t>(k)];
      GuardedBuffer<int64_t> kept(static_cast<size_t>(std::min<int64_t>(count, most)));
      const int64_t n = cpu::nms(count, 0.5, most, boxes.data(), scores.data(),
                                 grouped ? groups.data() : nullptr, kept.data());
      CHECK(kept.guards_intact());
      FRCNN_CHECK_SAME(std::vector<int64_t>(kept.data(), kept.data() + n), expected);
    }
  CHECK(cpu::nms<float>(0, 0.5, 10, nullptr, nullptr, nullptr, nullptr) == 0);
}

TEST_CASE("nms: a threshold of 0 or below, 1 and above") {
  const std::vector<float> boxes = {0, 0, 10, 10, 9, 9, 19, 19, 10, 10, 20, 20, 50, 50, 60, 60};
  FRCNN_CHECK_SAME(nms(boxes, 0.0), std::vector<int64_t>{0, 2, 3});  // touching is no overlap
  FRCNN_CHECK_SAME(nms(boxes, -1.0), std::vector<int64_t>{0});
  CHECK(nms(boxes, 1.0).size() == 4);
  CHECK(nms(boxes, 2.0).size() == 4);
}

TEST_CASE("nms: empty boxes and NaN neither suppress nor are suppressed") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(nms<float>({5, 5, 5, 5, 5, 5, 5, 5, 0, 0, 9, 9}, 0.5).size() == 3);
  CHECK(nms<float>({nan, 0, 9, 9, 0, 0, 9, 9, 0, nan, 9, 9, 0, 0, nan, 9, 0, 0, 9, nan}, 0.5)
            .size() == 5);
}

TEST_CASE("nms: twice is once; shifting and mirroring the boxes keeps the same ones") {
  auto boxes = clustered_boxes<float>(800, 9, 200, 4);
  const auto kept = nms(boxes, 0.6);
  std::vector<float> survivors;
  for (const int64_t i : kept)
    survivors.insert(survivors.end(), &boxes[static_cast<size_t>(4 * i)],
                     &boxes[static_cast<size_t>(4 * i)] + 4);
  CHECK(nms(survivors, 0.6).size() == kept.size());
  for (float& v : boxes) v += 64;
  FRCNN_CHECK_SAME(nms(boxes, 0.6), kept);
  for (size_t i = 0; i < boxes.size(); i += 4) {
    const float x1 = boxes[i], x2 = boxes[i + 2];
    boxes[i] = 1000 - x2;
    boxes[i + 2] = 1000 - x1;
  }
  FRCNN_CHECK_SAME(nms(boxes, 0.6), kept);
}

TEST_CASE("nms: no boxes, none wanted") {
  CHECK(nms<float>({}, 0.5).empty());
  CHECK(nms<float>({0, 0, 9, 9}, 0.5, 0).empty());
  CHECK(nms<float>({0, 0, 9, 9, 20, 20, 29, 29}, 0.5, 1) == std::vector<int64_t>{0});
}
