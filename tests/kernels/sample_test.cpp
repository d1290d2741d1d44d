#include "kernels/boxes/sample.h"

#include <algorithm>
#include <cmath>

#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

/// `positives` labels above 0, then `negatives` of 0 and `ignored` of -1, mixed.
std::vector<int32_t> mixed(size_t positives, size_t negatives, size_t ignored) {
  std::vector<int32_t> labels;
  labels.insert(labels.end(), positives, 1);
  labels.insert(labels.end(), negatives, 0);
  labels.insert(labels.end(), ignored, -1);
  std::vector<int32_t> out(labels.size());
  size_t step = 7919;  // a prime: a walk over all places
  for (size_t i = 0; i < labels.size(); ++i) out[i * step % labels.size()] = labels[i];
  return out;
}

struct Sampled {
  SampleCounts counts;
  std::vector<int32_t> labels;
};

Sampled sample(const std::vector<int32_t>& labels, const SampleParams& params = {},
               const RandomKey& key = {1, kStreamTest, 0}) {
  GuardedBuffer<int32_t> out(labels.size());
  std::copy(labels.begin(), labels.end(), out.data());
  Sampled s{cpu::sample_labels(params, key, static_cast<int64_t>(labels.size()), out.data()),
            {out.data(), out.data() + out.size()}};
  CHECK(out.guards_intact());
  CHECK(s.counts.positive ==
        std::count_if(s.labels.begin(), s.labels.end(), [](int32_t v) { return v > 0; }));
  CHECK(s.counts.negative == std::count(s.labels.begin(), s.labels.end(), 0));
  for (size_t i = 0; i < labels.size(); ++i)
    if (s.labels[i] != -1 && s.labels[i] != labels[i]) FAIL_CHECK("label " << i << " changed");
  return s;
}

}  // namespace

TEST_CASE("A9 sample: 256 anchors; fewer than 128 positives are padded with negatives") {
  const SampleCounts few = sample(mixed(20, 5000, 300)).counts;
  CHECK((few.positive == 20 && few.negative == 236));
  const SampleCounts none = sample(mixed(0, 5000, 300)).counts;
  CHECK((none.positive == 0 && none.negative == 256));
}

TEST_CASE("A10 sample: positives to negatives up to 1:1") {
  const SampleCounts many = sample(mixed(900, 5000, 300)).counts;
  CHECK((many.positive == 128 && many.negative == 128));
  const SampleCounts exact = sample(mixed(128, 128, 0)).counts;
  CHECK((exact.positive == 128 && exact.negative == 128));
  const SampleCounts short_of = sample(mixed(900, 40, 10)).counts;  // positives never fill up
  CHECK((short_of.positive == 128 && short_of.negative == 40));
}

TEST_CASE("F3 sample: negatives are subsampled too, and ignored entries stay ignored") {
  const auto labels = mixed(300, 5000, 500);
  const auto s = sample(labels);
  CHECK(s.counts.positive <= 128);
  CHECK(s.counts.positive + s.counts.negative == 256);
  for (size_t i = 0; i < labels.size(); ++i)
    if (labels[i] == -1) CHECK(s.labels[i] == -1);
}

TEST_CASE("sample: other sizes, class labels above 1, limits of 0") {
  std::vector<int32_t> labels = {3, 0, 20, 0, -1, 7, 0, 0};
  SampleParams p;
  p.batch = 4;
  p.max_positive = 1;
  const auto s = sample(labels, p);
  CHECK((s.counts.positive == 1 && s.counts.negative == 3));
  p.max_positive = 100;  // more than the batch
  CHECK(sample(labels, p).counts.positive == 3);
  p.batch = 2;
  CHECK(sample(labels, p).counts.positive == 2);
  CHECK(sample(labels, p).counts.negative == 0);
  p.batch = 0;
  CHECK(sample(labels, p).labels == std::vector<int32_t>(8, -1));
}

TEST_CASE("sample: the same key gives the same sample, another step or seed another") {
  const auto labels = mixed(500, 3000, 0);
  const auto first = sample(labels, {}, {5, kStreamTest, 9}).labels;
  CHECK(first == sample(labels, {}, {5, kStreamTest, 9}).labels);
  CHECK(first != sample(labels, {}, {5, kStreamTest, 10}).labels);
  CHECK(first != sample(labels, {}, {6, kStreamTest, 9}).labels);
}

TEST_CASE("sample: every entry is chosen equally often") {
  const auto labels = mixed(40, 60, 20);
  SampleParams p;
  p.batch = 30;
  p.max_positive = 10;
  constexpr int kRounds = 4000;
  std::vector<int> chosen(labels.size(), 0);
  for (uint64_t step = 0; step < kRounds; ++step) {
    std::vector<int32_t> drawn = labels;
    cpu::sample_labels(p, {3, kStreamTest, step}, static_cast<int64_t>(labels.size()),
                       drawn.data());
    for (size_t i = 0; i < labels.size(); ++i) chosen[i] += drawn[i] >= 0;
  }
  for (size_t i = 0; i < labels.size(); ++i) {
    const double share = labels[i] > 0 ? 10.0 / 40 : labels[i] == 0 ? 20.0 / 60 : 0;
    const double deviation = std::sqrt(kRounds * share * (1 - share));  // of a fair draw
    INFO("entry " << i << " label " << labels[i] << ": " << chosen[i]);
    CHECK(std::abs(chosen[i] - kRounds * share) <= 5 * deviation);
  }
}

TEST_CASE("sample: no entries") {
  const SampleCounts counts = cpu::sample_labels({}, {}, 0, nullptr);
  CHECK((counts.positive == 0 && counts.negative == 0));
}
