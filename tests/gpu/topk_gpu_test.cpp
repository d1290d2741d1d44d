// Ranking and random sampling on a GPU against the CPU versions: the same entries exactly.
#include "kernels/boxes/topk.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/boxes/sample.h"
#include "tests/gpu/gpu_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

constexpr TopKVersion kEvery[] = {TopKVersion::naive, TopKVersion::block, TopKVersion::grid};

/// Scores with many ties, zeros of both signs, infinities and NaN.
template <typename T>
std::vector<T> scores_of(size_t count, uint64_t seed) {
  auto scores = random_vector<T>(count, -1, 1, seed);
  for (size_t i = 0; i < count; ++i) {
    if (i % 3 != 0) scores[i] = std::round(scores[i] * 9) / 9;
    if (i % 41 == 7) scores[i] = std::numeric_limits<T>::quiet_NaN();
    if (i % 53 == 8) scores[i] = i % 2 ? T(-0.0) : T(0);
    if (i % 97 == 9) scores[i] = (i % 2 ? T(1) : T(-1)) * std::numeric_limits<T>::infinity();
  }
  return scores;
}

struct Ranked {
  std::vector<int32_t> indices, counts;
};

/// The CPU version on each segment.
template <typename T>
Ranked expected(const Segments& segments, size_t k, const std::vector<T>& scores,
                const std::vector<uint8_t>& keep) {
  Ranked out;
  for (int64_t s = 0; s < segments.count; ++s) {
    const int64_t first = segments.first(s);
    std::vector<int64_t> row(k);
    const int64_t n = cpu::top_k(segments.size(s), static_cast<int64_t>(k), scores.data() + first,
                                 keep.empty() ? nullptr : keep.data() + first, row.data());
    for (size_t i = 0; i < k; ++i)
      out.indices.push_back(i < static_cast<size_t>(n) ? static_cast<int32_t>(first + row[i]) : -1);
    out.counts.push_back(static_cast<int32_t>(n));
  }
  return out;
}

/// All versions under all schedules against the CPU version.
template <typename T>
void check_versions(size_t segments, size_t capacity, const std::vector<int32_t>& sizes,
                    const std::vector<int64_t>& offsets, size_t k, const std::vector<T>& scores,
                    const std::vector<uint8_t>& keep) {
  Segments view{static_cast<int64_t>(segments), static_cast<int64_t>(capacity)};
  if (!sizes.empty()) view.sizes = sizes.data();
  if (!offsets.empty()) view.offsets = offsets.data();
  const Ranked wanted = expected(view, k, scores, keep);
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const DeviceArray<B, T> ds(scores);
    const DeviceArray<B, uint8_t> dk(keep);
    const DeviceArray<B, int32_t> dsizes(sizes);
    const DeviceArray<B, int64_t> doffsets(offsets);
    Segments device = view;
    if (!sizes.empty()) device.sizes = dsizes.data();
    if (!offsets.empty()) device.offsets = doffsets.data();
    for (const TopKVersion version : kEvery) {
      INFO(segments << " x " << capacity << " scores, k " << k << ", "
                    << kTopKVersions[static_cast<int>(version)].name);
      const auto kk = static_cast<int64_t>(k);
      const DeviceArray<B, unsigned char> work(gpu::top_k_workspace<B, T>(device, kk, version));
      const DeviceArray<B, int32_t> indices(segments * k), counts(segments);
      gpu::top_k_segments<B>(nullptr, device, kk, ds.data(), keep.empty() ? nullptr : dk.data(),
                             indices.data(), counts.data(), work.data(), version);
      FRCNN_CHECK_SAME(counts.host(), wanted.counts);
      FRCNN_CHECK_SAME(indices.host(), wanted.indices);
    }
  });
}

}  // namespace

TEMPLATE_TEST_CASE("A20 GPU top-k: the order of the CPU's, ties, NaN and infinities included", "",
                   float, double) {
  using T = TestType;
  for (const size_t count : {0, 1, 2, 33, 700})
    for (const size_t k : {size_t{0}, size_t{1}, count / 2, count, count + 5})
      check_versions<T>(1, count, {}, {}, k, scores_of<T>(count, count), {});
  // One score only; all NaN; two thirds of one score.
  check_versions<T>(1, 400, {}, {}, 77, std::vector<T>(400, T(0.25)), {});
  check_versions<T>(1, 100, {}, {}, 30, std::vector<T>(100, std::numeric_limits<T>::quiet_NaN()),
                    {});
  auto ties = scores_of<T>(600, 3);
  for (size_t i = 0; i < 600; i += 1 + i % 2) ties[i] = T(0.5);
  check_versions<T>(1, 600, {}, {}, 200, ties, {});
}

TEST_CASE("GPU top-k: every segment by itself, sizes on the device, entries left out") {
  const auto scores = scores_of<float>(4 * 500, 5);
  std::vector<uint8_t> keep(scores.size());
  for (size_t i = 0; i < keep.size(); ++i) keep[i] = i % 5 != 2 && (i < 1000 || i > 1200) ? 1 : 0;
  const std::vector<int32_t> sizes = {500, 0, 77, 499};
  for (const size_t k : {1, 300, 600}) {
    check_versions<float>(4, 500, sizes, {}, k, scores, {});
    check_versions<float>(4, 500, sizes, {}, k, scores, keep);
    check_versions<float>(3, 900, {}, {10, 10, 907, 1500}, k, scores, keep);
  }
  check_versions<float>(2, 1000, {}, {}, 40, scores, std::vector<uint8_t>(scores.size(), 0));
}

TEST_CASE("GPU top-k: more scores than one pass of a grid covers, ties over two digits of index") {
  const auto scores = random_vector<float>(9000, 0, 1, 6);
  std::vector<float> ties = scores;
  for (size_t i = 0; i < 9000; i += 1 + i % 3) ties[i] = 0.75f;
  struct Case {
    std::vector<float> scores;
    size_t k;
  };
  for (const Case& c :
       {Case{scores, 3000}, Case{ties, 4500}, Case{std::vector<float>(9000, 1.0f), 3000},
        Case{std::vector<float>(3000, 1.0f), 2500}}) {
    const Segments one{1, static_cast<int64_t>(c.scores.size())};
    const auto k = static_cast<int64_t>(c.k);
    const Ranked wanted = expected(one, c.k, c.scores, {});
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      const DeviceArray<B, float> ds(c.scores);
      for (const TopKVersion version : {TopKVersion::block, TopKVersion::grid}) {
        const DeviceArray<B, unsigned char> work(gpu::top_k_workspace<B, float>(one, k, version));
        const DeviceArray<B, int32_t> indices(c.k), counts(1);
        gpu::top_k_segments<B, float>(nullptr, one, k, ds.data(), nullptr, indices.data(),
                                      counts.data(), work.data(), version);
        FRCNN_CHECK_SAME(indices.host(), wanted.indices);
        CHECK(counts.host()[0] == k);
      }
    });
  }
  // Too many for shared memory: as the grid does.
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    CHECK(gpu::top_k_workspace<B, float>({1, 20000}, 12288, TopKVersion::block) == 0);
    CHECK(gpu::top_k_workspace<B, float>({1, 20000}, 12289, TopKVersion::block) > 0);
  });
}

TEST_CASE("GPU sample: the entries that the CPU chooses, for each image of a batch") {
  constexpr size_t kImages = 3;
  for (const size_t capacity : {3, 400, 1300}) {
    std::vector<int32_t> labels(kImages * capacity), sizes;
    for (size_t n = 0; n < kImages; ++n) {
      sizes.push_back(static_cast<int32_t>(n == 1 ? capacity * 2 / 3 : capacity));
      for (size_t i = 0; i < capacity; ++i)
        labels[n * capacity + i] = i * 7919 % 13 < 3 + n ? static_cast<int32_t>(n + 1)
                                   : i % 3 == 0          ? -1
                                                         : 0;
    }
    for (const SampleParams& params :
         {SampleParams{}, SampleParams{256, 300}, SampleParams{64, 16}, SampleParams{5000, 2000},
          SampleParams{0, 0}, SampleParams{30, 0}}) {
      if (capacity > 1000 && params.batch != 64) continue;  // more than one entry per thread
      const RandomKey key{42, kStreamTest, 7};
      const auto batch = static_cast<size_t>(params.batch);
      std::vector<int32_t> wanted(labels.size(), -1), counts, chosen;
      for (size_t n = 0; n < kImages; ++n) {
        std::copy_n(labels.begin() + static_cast<std::ptrdiff_t>(n * capacity), sizes[n],
                    wanted.begin() + static_cast<std::ptrdiff_t>(n * capacity));
        RandomKey own = key;
        own.stream += kStreamStride * static_cast<uint32_t>(n);
        const SampleCounts c =
            cpu::sample_labels(params, own, sizes[n], wanted.data() + n * capacity);
        counts.push_back(static_cast<int32_t>(c.positive));
        counts.push_back(static_cast<int32_t>(c.negative));
        for (size_t i = 0; i < capacity; ++i)
          if (wanted[n * capacity + i] >= 0)
            chosen.push_back(static_cast<int32_t>(n * capacity + i));
        chosen.resize((n + 1) * batch, -1);
      }
      for_backends([&](auto on) {
        constexpr Backend B = decltype(on)::backend;
        for (const auto version : {SampleVersion::naive, SampleVersion::radix}) {
          INFO(capacity << " labels, batch " << params.batch << ", "
                        << kSampleVersions[static_cast<int>(version)].name);
          const DeviceArray<B, int32_t> dsizes(sizes), dcounts(2 * kImages),
              dchosen(kImages * batch);
          const DeviceArray<B, uint64_t> step(std::vector<uint64_t>{7});
          const Segments segments{kImages, static_cast<int64_t>(capacity), dsizes.data()};
          const DeviceArray<B, unsigned char> work(gpu::sample_workspace<B>(segments, version));
          for (const bool from_device : {false, true}) {
            if (from_device && params.batch != 64) continue;
            const DeviceArray<B, int32_t> dl(labels);
            RandomKey given = key;
            if (from_device) given.step = 1000;  // not the one that counts
            gpu::sample_labels<B>(nullptr, params, given, segments, dl.data(), dcounts.data(),
                                  from_device ? nullptr : dchosen.data(), work.data(),
                                  from_device ? step.data() : nullptr, version);
            FRCNN_CHECK_SAME(dl.host(), wanted);
            FRCNN_CHECK_SAME(dcounts.host(), counts);
            FRCNN_CHECK_SAME(dchosen.host(), chosen);
          }
        }
      });
    }
  }
}

TEST_CASE("GPU sample: lists packed one behind the other; nothing of nothing") {
  std::vector<int32_t> labels(90, 0);
  for (size_t i = 0; i < 90; i += 4) labels[i] = 1;
  const std::vector<int64_t> offsets = {10, 40, 40, 90};
  std::vector<int32_t> wanted = labels;
  const SampleParams params{20, 6};
  for (size_t s = 0; s < 3; ++s)
    cpu::sample_labels(params, {3, 8 + kStreamStride * static_cast<uint32_t>(s), 1},
                       offsets[s + 1] - offsets[s], wanted.data() + offsets[s]);
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    for (const auto version : {SampleVersion::naive, SampleVersion::radix}) {
      const DeviceArray<B, int32_t> dl(labels), counts(6);
      const DeviceArray<B, int64_t> dof(offsets);
      const Segments segments{3, 50, nullptr, dof.data()};
      const DeviceArray<B, unsigned char> work(gpu::sample_workspace<B>(segments, version));
      gpu::sample_labels<B>(nullptr, params, {3, 8, 1}, segments, dl.data(), counts.data(), nullptr,
                            work.data(), nullptr, version);
      FRCNN_CHECK_SAME(dl.host(), wanted);
      CHECK(counts.host() == std::vector<int32_t>{6, 14, 0, 0, 6, 14});
      const DeviceArray<B, int32_t> none(2);
      gpu::sample_labels<B>(nullptr, params, {3, 8, 1}, Segments{1, 0}, nullptr, none.data(),
                            nullptr, nullptr, nullptr, version);
      CHECK(none.host() == std::vector<int32_t>{0, 0});
    }
  });
}
