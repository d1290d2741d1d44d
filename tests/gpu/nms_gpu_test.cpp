// Non-maximum suppression on a GPU against the CPU version: the same boxes exactly.
#include "kernels/boxes/nms.h"

#include <cmath>
#include <limits>

#include "tests/gpu/gpu_support.h"
#include "tests/kernels/box_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

constexpr NmsVersion kEvery[] = {NmsVersion::naive, NmsVersion::bitmask, NmsVersion::windows};

/// Segments of a batch on the host: rows of `capacity`, or packed at `offsets`.
template <typename T>
struct Batch {
  size_t segments, capacity;
  std::vector<T> boxes;
  std::vector<int32_t> groups, sizes;  // empty: nullptr
  std::vector<uint8_t> valid;
  std::vector<int64_t> offsets;

  Segments view(const int32_t* device_sizes, const int64_t* device_offsets) const {
    return {static_cast<int64_t>(segments), static_cast<int64_t>(capacity), device_sizes,
            device_offsets};
  }
};

struct Kept {
  std::vector<int32_t> positions, counts;
  bool operator==(const Kept&) const = default;
};

/// The CPU version on each segment, on the valid candidates only.
template <typename T>
Kept expected(const Batch<T>& batch, double threshold, size_t max_keep) {
  Kept out;
  const Segments segments = batch.view(batch.sizes.empty() ? nullptr : batch.sizes.data(),
                                       batch.offsets.empty() ? nullptr : batch.offsets.data());
  for (int64_t s = 0; s < segments.count; ++s) {
    std::vector<T> boxes;
    std::vector<int32_t> groups, positions;
    for (int64_t i = 0; i < segments.size(s); ++i) {
      const auto at = static_cast<size_t>(segments.first(s) + i);
      if (!batch.valid.empty() && batch.valid[at] == 0) continue;
      boxes.insert(boxes.end(), batch.boxes.begin() + static_cast<std::ptrdiff_t>(4 * at),
                   batch.boxes.begin() + static_cast<std::ptrdiff_t>(4 * at + 4));
      groups.push_back(batch.groups.empty() ? 0 : batch.groups[at]);
      positions.push_back(static_cast<int32_t>(at));
    }
    std::vector<int64_t> kept(std::min(max_keep, positions.size()));
    const int64_t n =
        cpu::nms_sorted(static_cast<int64_t>(positions.size()), threshold,
                        static_cast<int64_t>(max_keep), boxes.data(), groups.data(), kept.data());
    for (size_t i = 0; i < max_keep; ++i)
      out.positions.push_back(i < static_cast<size_t>(n) ? positions[static_cast<size_t>(kept[i])]
                                                         : -1);
    out.counts.push_back(static_cast<int32_t>(n));
  }
  return out;
}

template <Backend B, typename T>
Kept run(const Batch<T>& batch, double threshold, size_t max_keep, NmsVersion version) {
  const DeviceArray<B, T> boxes(batch.boxes);
  const DeviceArray<B, int32_t> groups(batch.groups), sizes(batch.sizes);
  const DeviceArray<B, uint8_t> valid(batch.valid);
  const DeviceArray<B, int64_t> offsets(batch.offsets);
  const Segments segments = batch.view(batch.sizes.empty() ? nullptr : sizes.data(),
                                       batch.offsets.empty() ? nullptr : offsets.data());
  const DeviceArray<B, unsigned char> work(gpu::nms_workspace<B>(segments, version));
  const DeviceArray<B, int32_t> kept(batch.segments * max_keep), counts(batch.segments);
  gpu::nms_sorted<B>(nullptr, segments, threshold, static_cast<int64_t>(max_keep), boxes.data(),
                     batch.groups.empty() ? nullptr : groups.data(),
                     batch.valid.empty() ? nullptr : valid.data(), kept.data(), counts.data(),
                     work.data(), version);
  return {kept.host(), counts.host()};
}

template <typename T>
void check_versions(const Batch<T>& batch, double threshold, size_t max_keep) {
  const Kept wanted = expected(batch, threshold, max_keep);
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    for (const NmsVersion version : kEvery) {
      INFO(batch.segments << " x " << batch.capacity << " boxes, threshold " << threshold
                          << ", keep " << max_keep << ", "
                          << kNmsVersions[static_cast<int>(version)].name);
      const Kept actual = run<B>(batch, threshold, max_keep, version);
      FRCNN_CHECK_SAME(actual.counts, wanted.counts);
      FRCNN_CHECK_SAME(actual.positions, wanted.positions);
    }
  });
}

template <typename T>
Batch<T> one(std::vector<T> boxes) {
  const size_t count = boxes.size() / 4;
  return {1, count, std::move(boxes), {}, {}, {}, {}};
}

}  // namespace

TEST_CASE("A20 GPU nms: keeps what torchvision keeps, with ties at the threshold, empty boxes") {
  for (const std::string name : {"clustered", "sparse", "ties", "tenths", "degenerate"})
    for (const int percent : {30, 50, 70}) {
      INFO(name << " " << percent);
      const auto batch = one(golden_f32("boxes", "nms_" + name + "/boxes").values);
      const auto kept =
          golden_i64("boxes", "nms_" + name + "/kept_" + std::to_string(percent)).values;
      Kept wanted{{kept.begin(), kept.end()}, {static_cast<int32_t>(kept.size())}};
      wanted.positions.resize(batch.capacity, -1);
      for_backends([&](auto on) {
        for (const NmsVersion version : kEvery)
          CHECK(run<decltype(on)::backend>(batch, percent / 100.0, batch.capacity, version) ==
                wanted);
      });
    }
}

TEMPLATE_TEST_CASE("GPU nms equals the CPU's at all sizes of tiles and windows", "", float,
                   double) {
  using T = TestType;
  for (const size_t count : {0, 1, 2, 63, 64, 65, 200, 513})
    for (const double threshold : {0.0, 0.3, 0.7}) {
      const auto batch = one(clustered_boxes<T>(count, 1 + count / 20, 150, count + 1));
      check_versions(batch, threshold, count + 3);
      check_versions(batch, threshold, count / 5);
    }
}

TEST_CASE("GPU nms: several windows, stopped early and not") {
  const auto batch = one(clustered_boxes<float>(2500, 900, 2000, 5));
  for (const size_t max_keep : {3000, 300, 64, 1, 0}) {
    const Kept wanted = expected(batch, 0.5, max_keep);
    if (max_keep == 3000) CHECK(wanted.counts[0] > 700);
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      INFO("keep " << max_keep);
      CHECK(run<B>(batch, 0.5, max_keep, NmsVersion::windows) == wanted);
      if (max_keep == 300 || max_keep == 64)
        CHECK(run<B>(batch, 0.5, max_keep, NmsVersion::bitmask) == wanted);
    });
  }
}

TEST_CASE("GPU nms: a window whose suppressors are behind more than a thousand kept boxes") {
  std::vector<float> boxes;
  for (int i = 0; i < 2300; ++i) {  // apart from each other; from 2100 on some of them again
    const int at = i < 2100 ? i : i < 2200 ? i - 2100 : i - 1050;
    const auto x = static_cast<float>(at % 50 * 20), y = static_cast<float>(at / 50 * 20);
    boxes.insert(boxes.end(), {x, y, x + 10, y + 10});
  }
  const Kept wanted = expected(one(boxes), 0.5, 2300);
  CHECK(wanted.counts[0] == 2100);
  for_backends([&](auto on) {
    CHECK(run<decltype(on)::backend>(one(boxes), 0.5, 2300, NmsVersion::windows) == wanted);
  });
}

TEST_CASE("GPU nms: segments of unlike sizes, groups, candidates that take no part") {
  Batch<float> batch{4,  300, clustered_boxes<float>(1200, 12, 200, 9), {}, {300, 0, 131, 64},
                     {}, {}};
  for (size_t i = 0; i < 1200; ++i) {
    batch.groups.push_back(static_cast<int32_t>(i * 7 % 5) - 2);
    batch.valid.push_back(i % 4 == 1 || (i >= 640 && i < 700) ? 0 : 1);
  }
  // What lies beyond the sizes is not looked at.
  for (size_t i = 4 * 300; i < 4 * 600; ++i) batch.boxes[i] = 0;
  check_versions(batch, 0.4, 300);
  check_versions(batch, 0.4, 20);
  Batch<float> packed = batch;
  packed.sizes.clear();
  packed.segments = 3;
  packed.offsets = {100, 100, 357, 600};
  check_versions(packed, 0.4, 40);
  packed.valid.clear();
  packed.groups.clear();
  check_versions(packed, 0.4, 400);
}

TEST_CASE("GPU nms: thresholds of 0, 1 and above; NaN, infinite and empty boxes") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  const auto touching =
      one<float>({0, 0, 10, 10, 9, 9, 19, 19, 10, 10, 20, 20, 50, 50, 60, 60, 0, 0, 5, 10});
  for (const double threshold : {-1.0, 0.0, 0.4999, 0.5, 1.0, 2.0})
    check_versions(touching, threshold, 5);
  const auto odd = one<float>(
      {nan,   0,     9,     9,     0,     0,     9,   9,   0, nan, 9,   9,   0,     0,
       nan,   9,     0,     0,     9,     nan,   5,   5,   5, 5,   5,   5,   5,     5,
       0,     0,     9,     9,     -inf,  -inf,  inf, inf, 0, 0,   inf, inf, 1e30f, 1e30f,
       3e38f, 3e38f, 1e30f, 1e30f, 3e38f, 3e38f, 9,   9,   0, 0,   0,   0,   9,     8.9f});
  for (const double threshold : {0.0, 0.5, 0.98}) check_versions(odd, threshold, 14);
}

TEST_CASE("GPU nms: memory of the versions") {
  const Segments batch{2, 12000};
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    CHECK(gpu::nms_workspace<B>(batch, NmsVersion::naive) == 0);
    CHECK(gpu::nms_workspace<B>(batch, NmsVersion::bitmask) == 2 * 12000 * 188 * 8);
    CHECK(gpu::nms_workspace<B>(batch, NmsVersion::windows) == 2 * (1024 * 16 * 8 + 128));
  });
}
