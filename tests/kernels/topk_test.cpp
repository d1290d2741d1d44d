#include "kernels/boxes/topk.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

const float kNan = std::numeric_limits<float>::quiet_NaN();
const float kInf = std::numeric_limits<float>::infinity();

template <typename T>
std::vector<int64_t> top(const std::vector<T>& scores, int64_t k,
                         const std::vector<uint8_t>& keep = {}) {
  const auto count = static_cast<int64_t>(scores.size());
  GuardedBuffer<int64_t> out(static_cast<size_t>(std::min(k, count)));
  const int64_t n =
      cpu::top_k(count, k, scores.data(), keep.empty() ? nullptr : keep.data(), out.data());
  CHECK(out.guards_intact());
  REQUIRE((n >= 0 && n <= static_cast<int64_t>(out.size())));
  return {out.data(), out.data() + n};
}

}  // namespace

TEST_CASE("A20 top-k: the first k of a stable sort, with many equal scores") {
  for (const size_t count : {1, 2, 100, 20646}) {
    std::vector<float> scores = random_vector<float>(count, 0, 1, count);
    for (float& s : scores) s = std::round(s * 500) / 500;  // many ties
    std::vector<int64_t> order(count);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)];
    });
    for (const int64_t k : {1, 2, 300, 6000, 12000, 30000}) {
      std::vector<int64_t> expected = order;
      expected.resize(std::min(count, static_cast<size_t>(k)));
      FRCNN_CHECK_SAME(top(scores, k), expected);
      FRCNN_CHECK_SAME(top(std::vector<double>(scores.begin(), scores.end()), k), expected);
    }
  }
}

TEST_CASE("top-k: NaN comes last, behind minus infinity, in order of position") {
  const std::vector<float> scores = {kNan, 1, -kInf, kNan, 2, kInf, -0.0f, 0.0f};
  FRCNN_CHECK_SAME(top(scores, 8), std::vector<int64_t>{5, 4, 1, 6, 7, 2, 0, 3});
  FRCNN_CHECK_SAME(top(scores, 6), std::vector<int64_t>{5, 4, 1, 6, 7, 2});
  FRCNN_CHECK_SAME(top(scores, 7), std::vector<int64_t>{5, 4, 1, 6, 7, 2, 0});
}

TEST_CASE("top-k: entries that are not kept are left out") {
  FRCNN_CHECK_SAME(top<float>({5, 4, 3, 2, 1}, 2, {0, 1, 0, 1, 1}), std::vector<int64_t>{1, 3});
  FRCNN_CHECK_SAME(top<float>({5, 4, 3, 2, 1}, 9, {0, 1, 0, 1, 1}), std::vector<int64_t>{1, 3, 4});
  CHECK(top<float>({5, 4}, 2, {0, 0}).empty());
}

TEST_CASE("top-k: nothing asked, nothing given") {
  CHECK(top<float>({}, 5).empty());
  CHECK(top<float>({1, 2}, 0).empty());
}

TEST_CASE("top-k: each segment by itself, positions in the whole array, -1 behind") {
  const std::vector<float> scores = {3, 9, 9, 1, 7, kNan, 2};
  const std::vector<int64_t> offsets = {0, 3, 3, 4, 7};  // one empty, one of a single score
  GuardedBuffer<int64_t> indices(12), counts(4);
  cpu::top_k_segments(4, 3, offsets.data(), scores.data(), nullptr, indices.data(), counts.data());
  FRCNN_CHECK_SAME(indices.span(), std::vector<int64_t>{1, 2, 0, -1, -1, -1, 3, -1, -1, 4, 6, 5});
  FRCNN_CHECK_SAME(counts.span(), std::vector<int64_t>{3, 0, 1, 3});
  CHECK((indices.guards_intact() && counts.guards_intact()));
  const std::vector<uint8_t> keep = {1, 0, 1, 0, 1, 1, 0};
  GuardedBuffer<int64_t> two(8);
  cpu::top_k_segments(4, 2, offsets.data(), scores.data(), keep.data(), two.data(), counts.data());
  FRCNN_CHECK_SAME(two.span(), std::vector<int64_t>{2, 0, -1, -1, -1, -1, 4, 5});
  FRCNN_CHECK_SAME(counts.span(), std::vector<int64_t>{2, 0, 0, 2});
  CHECK(two.guards_intact());
}
