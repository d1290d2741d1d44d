// Anchors, codec and matching on a GPU against the CPU versions.
#include <cmath>
#include <limits>

#include "kernels/boxes/anchors.h"
#include "kernels/boxes/codec.h"
#include "kernels/boxes/iou_match.h"
#include "kernels/launch/check.h"
#include "tests/gpu/gpu_support.h"
#include "tests/kernels/box_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

/// Where exp or log take part: the emulation calls the host's, a GPU its own, right to two last
/// places.
template <Backend B, typename T>
constexpr double last_places(double size) {
  if (B == Backend::emulated) return 0;
  return size * (sizeof(T) == 4 ? 5e-7 : 1e-15);
}

BoxCodecParams weighted() {
  BoxCodecParams p;
  p.mean = {0.1, -0.2, 0.05, 0.3};
  p.std = {0.1, 0.1, 0.2, 0.2};
  return p;
}

template <typename T>
std::vector<ImageLimits<T>> limits_of(size_t images) {
  std::vector<ImageLimits<T>> limits;
  for (size_t n = 0; n < images; ++n)
    limits.push_back({static_cast<T>(120 - 30 * static_cast<int>(n)),
                      static_cast<T>(100 + 25 * static_cast<int>(n)), T(10), T(8)});
  return limits;
}

/// Deltas that cut, are NaN or infinite here and there.
template <typename T>
std::vector<T> deltas_with_extremes(size_t boxes, uint64_t seed) {
  auto deltas = random_vector<T>(4 * boxes, -1.5, 1.5, seed);
  for (size_t i = 0; i < boxes; i += 7) deltas[4 * i + 2 + i % 2] = 30;
  if (boxes > 5) deltas[4 * 5] = std::numeric_limits<T>::quiet_NaN();
  if (boxes > 9) deltas[4 * 9 + 3] = -std::numeric_limits<T>::infinity();
  return deltas;
}

}  // namespace

TEMPLATE_TEST_CASE("GPU anchors equal the CPU's, bit by bit", "", float, double) {
  using T = TestType;
  AnchorParams odd;
  odd.sizes = {32, 77.5, 128};
  odd.ratios = {0.4, 1.7};
  odd.rounding = AnchorRounding::none;
  odd.centre = AnchorCentre::corner;
  AnchorParams five;
  five.ratios = {1, 2, 0.5};
  five.combine = AnchorCombine::first;
  struct Case {
    AnchorParams params;
    int64_t h, w;
    double stride_y, stride_x;
  };
  for (const Case& c : {Case{{}, 5, 7, 16, 16}, Case{odd, 3, 11, 333.0 / 9, 500.0 / 14},
                        Case{odd, 1, 1, 8, 8}, Case{five, 8, 8, 32, 32}, Case{{}, 0, 5, 16, 16}}) {
    const auto count = static_cast<size_t>(c.h * c.w * c.params.per_cell());
    std::vector<T> expected(4 * count);
    cpu::grid_anchors(c.params, c.h, c.w, c.stride_y, c.stride_x, expected.data());
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      for (const auto version : {AnchorVersion::naive, AnchorVersion::box}) {
        INFO(count << " anchors, " << kAnchorVersions[static_cast<int>(version)].name);
        const DeviceArray<B, T> anchors(4 * count);
        gpu::grid_anchors<B>(nullptr, c.params, c.h, c.w, c.stride_y, c.stride_x, anchors.data(),
                             version);
        FRCNN_CHECK_SAME(anchors.host(), expected, 0, 0);
      }
    });
  }
  AnchorParams many;
  many.sizes.assign(97, 16.0);
  many.ratios = {1};
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    CHECK_THROWS_AS((gpu::grid_anchors<B, T>(nullptr, many, 1, 1, 16, 16, nullptr)), Error);
  });
}

TEST_CASE("GPU anchors: inside tests of a batch, with the counts of the original code") {
  constexpr size_t kCount = 20646;
  std::vector<float> anchors(4 * kCount);
  cpu::grid_anchors({}, 37, 62, 16.0, 16.0, anchors.data());
  anchors[4] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<ImageLimits<float>> limits = {{600, 1000, 0, 0}, {600, 800, 0, 0}};
  std::vector<uint8_t> expected(2 * kCount);
  cpu::boxes_inside(kCount, 600, 1000, anchors.data(), expected.data());
  cpu::boxes_inside(kCount, 600, 800, anchors.data(), expected.data() + kCount);
  CHECK(std::count(expected.begin(), expected.begin() + kCount, 1) == 7790);
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const DeviceArray<B, float> boxes(anchors);
    const DeviceArray<B, ImageLimits<float>> images(limits);
    const DeviceArray<B, uint8_t> inside(2 * kCount);
    gpu::boxes_inside<B>(nullptr, 2, kCount, images.data(), boxes.data(), inside.data());
    CHECK(inside.host() == expected);
    gpu::boxes_inside<B>(nullptr, 2, kCount, images.data(), boxes.data(), inside.data(), 0);
    auto outside = inside.host();
    for (uint8_t& flag : outside) flag = static_cast<uint8_t>(1 - flag);
    CHECK(outside == expected);
  });
}

TEMPLATE_TEST_CASE("GPU codec: encode, decode and its gradient equal the CPU's", "", float,
                   double) {
  using T = TestType;
  for (const size_t count : {size_t{0}, size_t{1}, size_t{31}, size_t{300}}) {
    const auto n = static_cast<int64_t>(count);
    const auto anchors = random_boxes<T>(count, 200, 5, 120, 1);
    const auto boxes = random_boxes<T>(count, 200, 5, 120, 2);
    const auto deltas = deltas_with_extremes<T>(count, 3);
    const auto cotangent = random_vector<T>(4 * count, -1, 1, 4);
    // One class of rows of three, at an address that is no multiple of 16 bytes.
    auto wide = random_vector<T>(12 * count + 1, -1, 1, 5);
    std::vector<T> encoded(4 * count), decoded(4 * count), gradient(4 * count), one(4 * count);
    cpu::encode_boxes(weighted(), n, anchors.data(), boxes.data(), encoded.data());
    cpu::decode_boxes(weighted(), n, anchors.data(), deltas.data(), 4, decoded.data());
    cpu::decode_boxes_backward(weighted(), n, anchors.data(), deltas.data(), cotangent.data(),
                               gradient.data());
    cpu::decode_boxes(weighted(), n, anchors.data(), wide.data() + 1, 12, one.data());
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      INFO(count << " boxes");
      const DeviceArray<B, T> da(anchors), db(boxes), dd(deltas), dc(cotangent), dw(wide),
          out(4 * count);
      gpu::encode_boxes<B>(nullptr, weighted(), n, da.data(), db.data(), out.data());
      FRCNN_CHECK_SAME(out.host(), encoded, last_places<B, T>(1), last_places<B, T>(10), true);
      gpu::decode_boxes<B>(nullptr, weighted(), n, da.data(), dd.data(), 4, out.data());
      FRCNN_CHECK_SAME(out.host(), decoded, last_places<B, T>(1), last_places<B, T>(8000), true);
      gpu::decode_boxes<B>(nullptr, weighted(), n, da.data(), dw.data() + 1, 12, out.data());
      FRCNN_CHECK_SAME(out.host(), one, last_places<B, T>(1), last_places<B, T>(300), true);
      gpu::decode_boxes_backward<B>(nullptr, weighted(), n, da.data(), dd.data(), dc.data(),
                                    out.data());
      FRCNN_CHECK_SAME(out.host(), gradient, last_places<B, T>(4), last_places<B, T>(1), true);
    });
  }
}

TEMPLATE_TEST_CASE("GPU codec: proposals are decoded, clipped and filtered as by the CPU", "",
                   float, double) {
  using T = TestType;
  for (const size_t count : {size_t{1}, size_t{37}, size_t{515}}) {
    const size_t images = 3;
    const auto n = static_cast<int64_t>(count);
    const auto anchors = random_boxes<T>(count, 110, 5, 60, 1);
    const auto deltas = deltas_with_extremes<T>(images * count, 3);
    const auto limits = limits_of<T>(images);
    std::vector<T> boxes(4 * images * count);
    std::vector<uint8_t> keep(images * count);
    for (size_t image = 0; image < images; ++image) {
      T* row = boxes.data() + 4 * image * count;
      cpu::decode_boxes({}, n, anchors.data(), deltas.data() + 4 * image * count, 4, row);
      const auto& limit = limits[image];
      cpu::clip_boxes(n, double(limit.height), double(limit.width), row);
      cpu::boxes_large_enough(n, double(limit.min_h), double(limit.min_w), row,
                              keep.data() + image * count);
    }
    if (count > 100) CHECK(std::count(keep.begin(), keep.end(), 1) > 100);
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      std::vector<T> first;
      for (const auto version : {DecodeVersion::naive, DecodeVersion::fused}) {
        INFO(count << " boxes, " << kDecodeVersions[static_cast<int>(version)].name);
        const DeviceArray<B, T> da(anchors), dd(deltas), out(boxes.size());
        const DeviceArray<B, ImageLimits<T>> dl(limits);
        const DeviceArray<B, uint8_t> flags(keep.size());
        gpu::decode_proposals<B>(nullptr, {}, 3, n, da.data(), dd.data(), dl.data(), out.data(),
                                 flags.data(), version);
        const auto actual = out.host();
        FRCNN_CHECK_SAME(actual, boxes, 0, last_places<B, T>(200), true);
        if (B == Backend::emulated) CHECK(flags.host() == keep);
        if (first.empty()) first = actual;
        FRCNN_CHECK_SAME(actual, first, 0, 0, true);
      }
    });
  }
}

TEMPLATE_TEST_CASE("GPU codec: boxes of all classes of the RoIs of a batch", "", float, double) {
  using T = TestType;
  constexpr size_t kRois = 23, kClasses = 3;
  const auto limits = limits_of<T>(2);
  const auto boxes = random_boxes<T>(kRois, 110, 5, 60, 1);
  const auto p = random_vector<T>(kRois * (kClasses + 1), 0, 1, 2);
  std::vector<T> rois;
  for (size_t r = 0; r < kRois; ++r) {
    rois.push_back(r % 5 == 4 ? T(-1) : static_cast<T>(r % 2));
    rois.insert(rois.end(), &boxes[4 * r], &boxes[4 * r] + 4);
  }
  for (const size_t groups : {size_t{1}, kClasses + 1}) {
    const auto deltas = random_vector<T>(kRois * groups * 4, -3, 3, 3);
    std::vector<T> expected(4 * kRois * kClasses, T(0)), scores(kRois * kClasses, T(0));
    std::vector<uint8_t> keep(kRois * kClasses, 0);
    for (size_t r = 0; r < kRois; ++r)
      for (size_t k = 1; k <= kClasses && rois[5 * r] >= 0; ++k) {
        const auto& limit = limits[static_cast<size_t>(rois[5 * r])];
        const size_t at = r * kClasses + k - 1;
        T* box = expected.data() + 4 * at;
        cpu::decode_boxes(weighted(), 1, &rois[5 * r + 1],
                          &deltas[(r * groups + (groups > 1 ? k : 0)) * 4], 4, box);
        cpu::clip_boxes(1, double(limit.height), double(limit.width), box);
        cpu::boxes_large_enough(1, double(limit.min_h), double(limit.min_w), box, &keep[at]);
        scores[at] = p[r * (kClasses + 1) + k];
        if (!(scores[at] > T(0.3))) keep[at] = 0;
      }
    CHECK(std::count(keep.begin(), keep.end(), 1) > 5);
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      INFO(groups << " groups");
      const DeviceArray<B, T> dr(rois), dd(deltas), dp(p), out(expected.size()),
          score(scores.size());
      const DeviceArray<B, ImageLimits<T>> dl(limits);
      const DeviceArray<B, uint8_t> flags(keep.size());
      gpu::decode_detections<B>(nullptr, weighted(), kRois, kClasses, static_cast<int64_t>(groups),
                                0.3, dr.data(), dd.data(), dp.data(), dl.data(), out.data(),
                                score.data(), flags.data());
      FRCNN_CHECK_SAME(out.host(), expected, 0, last_places<B, T>(200));
      FRCNN_CHECK_SAME(score.host(), scores, 0, 0);
      CHECK(flags.host() == keep);
    });
  }
}

namespace {

/// A batch on the host and what the CPU finds in each of its images.
template <typename T>
struct MatchCase {
  size_t images, count, objects;
  bool shared;
  std::vector<T> boxes, truth;
  std::vector<uint8_t> skip;
  std::vector<int32_t> counts, object_counts;
  std::vector<T> best, object_best;
  std::vector<int32_t> index, labels;

  MatchCase(size_t images_, size_t count_, size_t objects_, bool shared_, const MatchParams& params)
      : images(images_), count(count_), objects(objects_), shared(shared_) {
    boxes = clustered_boxes<T>(shared ? count : images * count, 9, 150, 3 + count);
    truth = clustered_boxes<T>(images * objects, 9, 150, 3 + count);
    if (count > 3) boxes[4 * 3 + 1] = std::numeric_limits<T>::quiet_NaN();
    if (objects > 3) truth[4 * 3 + 2] = std::numeric_limits<T>::quiet_NaN();
    best.assign(images * count, T(-1));
    index.assign(images * count, -1);
    labels.assign(images * count, -1);
    object_best.assign(images * objects, T(0));
    for (size_t n = 0; n < images; ++n) {
      for (size_t i = 0; i < count; ++i) skip.push_back((i + n) % 6 == 0 ? 1 : 0);
      counts.push_back(static_cast<int32_t>(n == 0 ? count : count - count / 3));
      object_counts.push_back(static_cast<int32_t>(n == 1 ? 0 : objects - objects / 4 * (n % 2)));
      // The rows beyond are poison.
      for (size_t g = static_cast<size_t>(object_counts[n]); g < objects; ++g)
        truth[4 * (n * objects + g)] = std::numeric_limits<T>::infinity();
      const T* b = boxes.data() + (shared ? 0 : 4 * n * count);
      const T* t = truth.data() + 4 * n * objects;
      const size_t row = n * count;
      cpu::iou_best(counts[n], object_counts[n], b, t, skip.data() + row, best.data() + row,
                    index.data() + row, object_best.data() + n * objects);
      cpu::match_labels(params, counts[n], object_counts[n], b, t, skip.data() + row,
                        best.data() + row, object_best.data() + n * objects, labels.data() + row);
    }
  }
};

}  // namespace

TEMPLATE_TEST_CASE("GPU match: a batch of images gives what the CPU gives for each", "", float,
                   double) {
  using T = TestType;
  MatchParams low, no_best;
  low.positive = 0.5;
  low.negative = 0.2;
  no_best.match_best = false;
  struct Size {
    size_t images, count, objects;
    bool shared;
  };
  for (const auto& s : {Size{3, 300, 9, true}, Size{3, 300, 9, false}, Size{1, 1, 1, false},
                        Size{4, 130, 70, true}, Size{3, 40, 0, true}, Size{2, 0, 5, false}}) {
    for (const MatchParams& params : {MatchParams{}, low, no_best}) {
      const MatchCase<T> c(s.images, s.count, s.objects, s.shared, params);
      if (s.count == 300) CHECK(std::count(c.labels.begin(), c.labels.end(), 1) > 3);
      for_backends([&](auto on) {
        constexpr Backend B = decltype(on)::backend;
        for (const auto version : {MatchVersion::naive, MatchVersion::tiled}) {
          INFO(s.images << " x " << s.count << " boxes, " << s.objects << " objects, "
                        << kMatchVersions[static_cast<int>(version)].name);
          const DeviceArray<B, T> boxes(c.boxes), truth(c.truth), best(c.best.size()),
              object_best(c.object_best.size());
          const DeviceArray<B, uint8_t> skip(c.skip);
          const DeviceArray<B, int32_t> counts(c.counts), object_counts(c.object_counts),
              index(c.index.size()), labels(c.labels.size());
          const MatchBatch batch{static_cast<int64_t>(s.images),
                                 static_cast<int64_t>(s.count),
                                 static_cast<int64_t>(s.objects),
                                 s.shared,
                                 counts.data(),
                                 object_counts.data()};
          gpu::iou_best<B>(nullptr, batch, boxes.data(), truth.data(), skip.data(), best.data(),
                           index.data(), object_best.data(), version);
          FRCNN_CHECK_SAME(best.host(), c.best, 0, 0);
          FRCNN_CHECK_SAME(index.host(), c.index);
          FRCNN_CHECK_SAME(object_best.host(), c.object_best, 0, 0);
          gpu::match_labels<B>(nullptr, params, batch, boxes.data(), truth.data(), skip.data(),
                               best.data(), object_best.data(), labels.data(), version);
          FRCNN_CHECK_SAME(labels.host(), c.labels);
        }
      });
    }
  }
}

TEST_CASE("GPU match: without counts, skips and objects' bests; every object has a best box") {
  const auto boxes = random_boxes<float>(700, 300, 5, 90, 8);
  const auto truth = random_boxes<float>(20, 300, 20, 90, 9);
  std::vector<float> best(700), object_best(20);
  std::vector<int32_t> index(700), labels(700);
  cpu::iou_best<float>(700, 20, boxes.data(), truth.data(), nullptr, best.data(), index.data(),
                       object_best.data());
  cpu::match_labels<float>({}, 700, 20, boxes.data(), truth.data(), nullptr, best.data(),
                           object_best.data(), labels.data());
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    for (const auto version : {MatchVersion::naive, MatchVersion::tiled}) {
      const DeviceArray<B, float> db(boxes), dt(truth), out(700), object(20);
      const DeviceArray<B, int32_t> di(700), dl(700);
      const MatchBatch batch{1, 700, 20};
      gpu::iou_best<B, float>(nullptr, batch, db.data(), dt.data(), nullptr, out.data(), di.data(),
                              nullptr, version);
      FRCNN_CHECK_SAME(out.host(), best, 0, 0);
      FRCNN_CHECK_SAME(di.host(), index);
      gpu::iou_best<B, float>(nullptr, batch, db.data(), dt.data(), nullptr, out.data(), di.data(),
                              object.data(), version);
      gpu::match_labels<B, float>(nullptr, {}, batch, db.data(), dt.data(), nullptr, out.data(),
                                  object.data(), dl.data(), version);
      FRCNN_CHECK_SAME(dl.host(), labels);
      const auto found = object.host();
      CHECK(std::all_of(found.begin(), found.end(), [](float iou) { return iou > 0; }));
    }
  });
}

TEST_CASE("GPU match: regions are foreground, background or neither; targets of matched boxes") {
  constexpr size_t kCount = 90;
  std::vector<float> best(2 * kCount);
  for (size_t i = 0; i < best.size(); ++i) best[i] = static_cast<float>(i % kCount) / 80;
  best[kCount + 16] = 0.1f;
  best[kCount + 72] = 0.7f;  // below 0.7, as a real number
  const std::vector<int32_t> counts = {80, 85}, objects = {0, 3};
  const RegionLabelParams params{0.75, 0.7, 0.1};
  std::vector<int32_t> expected(best.size(), -1);
  for (size_t n = 0; n < 2; ++n)
    for (size_t i = 0; i < static_cast<size_t>(counts[n]); ++i) {
      const double iou = static_cast<double>(best[n * kCount + i]);
      expected[n * kCount + i] = n == 1 && iou >= 0.75 ? 1 : iou >= 0.1 && iou < 0.7 ? 0 : -1;
    }
  CHECK((expected[kCount + 60] == 1 && expected[kCount + 72] == 0));
  const auto boxes = random_boxes<float>(2 * kCount, 200, 5, 120, 1);
  const auto truth = random_boxes<float>(6, 200, 5, 120, 2);
  const std::vector<int32_t> classes = {9, 9, 9, 4, 0, 7};
  std::vector<int32_t> index(best.size()), target_labels = expected;
  for (size_t i = 0; i < index.size(); ++i) index[i] = i < kCount ? -1 : static_cast<int>(i % 3);
  for (const bool shared : {false, true}) {
    std::vector<float> deltas(4 * best.size(), 0.0f);
    for (size_t i = 0; i < best.size(); ++i) {
      if (expected[i] <= 0) continue;
      const size_t object = 3 + static_cast<size_t>(index[i]), box = shared ? i - kCount : i;
      cpu::encode_boxes(weighted(), 1, &boxes[4 * box], &truth[4 * object], &deltas[4 * i]);
      target_labels[i] = classes[object] + 1;
    }
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      const DeviceArray<B, float> db(best), dx(boxes), dt(truth), out(deltas.size());
      const DeviceArray<B, int32_t> dc(counts), dobjects(objects), labels(best.size()), di(index),
          dclasses(classes);
      MatchBatch batch{2, kCount, 3};
      batch.counts = dc.data();
      batch.object_counts = dobjects.data();
      gpu::region_labels<B>(nullptr, params, batch, db.data(), labels.data());
      FRCNN_CHECK_SAME(labels.host(), expected);
      gpu::encode_matched<B, float>(nullptr, weighted(), 2, kCount, 3, shared, dx.data(), dt.data(),
                                    labels.data(), di.data(), out.data());
      FRCNN_CHECK_SAME(out.host(), deltas, last_places<B, float>(1), last_places<B, float>(10));
      gpu::encode_matched<B, float>(nullptr, weighted(), 2, kCount, 3, shared, dx.data(), dt.data(),
                                    labels.data(), di.data(), out.data(), dclasses.data(),
                                    labels.data());
      FRCNN_CHECK_SAME(labels.host(), target_labels);
    });
  }
}
