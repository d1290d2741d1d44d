#include "kernels/boxes/proposal_decode.h"
#include "kernels/boxes/roi_targets.h"

#include <cmath>

#include "kernels/boxes/codec.h"
#include "kernels/launch/check.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

/// Two images of 12 anchors; some boxes leave their image, some sides are cut.
struct Scene {
  static constexpr int64_t kImages = 2, kCount = 12, kRows = 9;
  std::vector<double> anchors, deltas, constants;
  std::vector<ImageLimits<double>> limits = {{60, 80, 0, 0}, {50, 70, 0, 0}};
  std::vector<int32_t> sources = {3, -1, 17, 0, 23, 11, -1, 12, 8};

  Scene() {
    const auto u = random_vector<double>(4 * kCount, 0, 1, 1);
    for (size_t i = 0; i < kCount; ++i) {
      const double x = u[4 * i] * 60, y = u[4 * i + 1] * 40;
      for (const double v : {x, y, x + 8 + 30 * u[4 * i + 2], y + 8 + 20 * u[4 * i + 3]})
        anchors.push_back(v);
    }
    deltas = random_vector<double>(4 * kImages * kCount, -0.6, 0.6, 2);
    deltas[4 * 17 + 2] = 5;  // beyond the limit of exp, which clipping alone would not show
    deltas[4 * 17] = -0.1;
    constants = random_vector<double>(5 * kRows, 0, 40, 3);
  }
  std::vector<double> forward(const std::vector<double>& by) const {
    std::vector<double> rois(5 * kRows, NAN);
    cpu::proposal_decode(kImages, kCount, kRows, anchors.data(), by.data(), limits.data(),
                         sources.data(), constants.data(), rois.data());
    return rois;
  }
};

}  // namespace

TEST_CASE("proposal_decode: the proposal layer's boxes bit for bit, constants as they are") {
  const Scene s;
  const std::vector<double> rois = s.forward(s.deltas);
  for (int64_t image = 0; image < Scene::kImages; ++image) {
    std::vector<double> boxes(4 * Scene::kCount);
    cpu::decode_boxes<double>({}, Scene::kCount, s.anchors.data(),
                              s.deltas.data() + image * 4 * Scene::kCount, 4, boxes.data());
    const auto& limit = s.limits[static_cast<size_t>(image)];
    cpu::clip_boxes(Scene::kCount, limit.height, limit.width, boxes.data());
    for (size_t r = 0; r < Scene::kRows; ++r) {
      if (s.sources[r] < 0 || s.sources[r] / Scene::kCount != image) continue;
      CHECK(rois[5 * r] == static_cast<double>(image));
      for (size_t k = 0; k < 4; ++k)
        CHECK(rois[5 * r + 1 + k] ==
              boxes[4 * static_cast<size_t>(s.sources[r] % Scene::kCount) + k]);
    }
  }
  for (const size_t r : {1, 6})
    for (size_t k = 0; k < 5; ++k) CHECK(rois[5 * r + k] == s.constants[5 * r + k]);
}

TEST_CASE("A17: proposal_decode, finite differences in float64; clipped and cut pass no gradient") {
  const Scene s;
  const auto drois = random_vector<double>(5 * Scene::kRows, -1, 1, 4);
  GuardedBuffer<double> gradient(s.deltas.size());
  cpu::proposal_decode_backward(Scene::kImages, Scene::kCount, Scene::kRows, s.anchors.data(),
                                s.deltas.data(), s.limits.data(), s.sources.data(), drois.data(),
                                gradient.data());
  CHECK(gradient.guards_intact());
  int nonzero = 0;
  std::vector<double> expected(s.deltas.size());
  for (size_t i = 0; i < s.deltas.size(); ++i) {
    auto moved = s.deltas;
    moved[i] += 1e-6;
    const auto above = s.forward(moved);
    moved[i] -= 2e-6;
    const auto below = s.forward(moved);
    for (size_t k = 0; k < above.size(); ++k)
      if (k % 5 != 0) expected[i] += drois[k] * (above[k] - below[k]) / 2e-6;
    nonzero += expected[i] != 0;
  }
  FRCNN_CHECK_SAME(gradient.span(), expected, 1e-6, 1e-6);
  CHECK(nonzero > 15);
  CHECK(gradient.data()[4 * 17 + 2] == 0);  // cut
  int clipped = 0;
  const auto rois = s.forward(s.deltas);
  for (size_t r = 0; r < Scene::kRows; ++r)
    if (s.sources[r] >= 0) clipped += rois[5 * r + 1] == 0 || rois[5 * r + 2] == 0;
  CHECK(clipped > 0);
}

TEST_CASE("proposal_decode: sources out of range and repeated ones throw") {
  Scene s;
  const std::vector<double> drois(5 * Scene::kRows, 1);
  std::vector<double> gradient(s.deltas.size());
  const auto backward = [&] {
    cpu::proposal_decode_backward(Scene::kImages, Scene::kCount, Scene::kRows, s.anchors.data(),
                                  s.deltas.data(), s.limits.data(), s.sources.data(), drois.data(),
                                  gradient.data());
  };
  s.sources[4] = 3;
  CHECK_THROWS_WITH(backward(), mentions("the source 3 stands twice"));
  s.sources[4] = 24;
  CHECK_THROWS_WITH(s.forward(s.deltas), mentions("row 4 has source 24, expected -1 to 23"));
  CHECK_THROWS_AS(backward(), Error);
}

TEST_CASE("A17: roi_targets_backward, finite differences of encoded targets in float64") {
  const BoxCodecParams codec{{0.1, -0.2, 0.05, 0.3}, {0.1, 0.1, 0.2, 0.2}};
  constexpr int64_t kRows = 6, kGroups = 3;
  const auto u = random_vector<double>(8 * kRows, 0, 1, 5);
  std::vector<double> rois, objects;
  for (size_t r = 0; r < kRows; ++r) {
    const double *a = &u[8 * r], x = 40 * a[0], y = 30 * a[1];
    rois.insert(rois.end(), {0, x, y, x + 5 + 20 * a[2], y + 6 + 20 * a[3]});
    objects.insert(objects.end(), {x + a[4], y - a[5], x + 8 + 20 * a[6], y + 9 + 20 * a[7]});
  }
  const auto targets_of = [&](const std::vector<double>& from) {
    std::vector<double> targets(4 * kRows);
    for (size_t r = 0; r < kRows; ++r)
      cpu::encode_boxes(codec, 1, &from[5 * r + 1], &objects[4 * r], &targets[4 * r]);
    return targets;
  };
  // Row 2 is background: no group of it has a gradient, and its RoI may be anything.
  std::vector<double> ddeltas(4 * kGroups * kRows);
  const auto gradient = random_vector<double>(4 * kRows, -1, 1, 6);
  for (size_t r = 0; r < kRows; ++r)
    for (size_t k = 0; k < 4 && r != 2; ++k)
      ddeltas[(r * kGroups + r % kGroups) * 4 + k] = gradient[4 * r + k];
  const auto targets = targets_of(rois);
  auto given = rois;
  std::fill(given.begin() + 10, given.begin() + 15, 0.0);
  GuardedBuffer<double> drois(rois.size());
  cpu::roi_targets_backward(codec, kRows, kGroups, given.data(), targets.data(), ddeltas.data(),
                            drois.data());
  CHECK(drois.guards_intact());
  std::vector<double> expected(rois.size());
  for (size_t i = 0; i < rois.size(); ++i) {
    if (i % 5 == 0 || i / 5 == 2) continue;
    auto moved = rois;
    moved[i] += 1e-6;
    const auto above = targets_of(moved);
    moved[i] -= 2e-6;
    const auto below = targets_of(moved);
    for (size_t k = 4 * (i / 5); k < 4 * (i / 5) + 4; ++k)
      expected[i] -= gradient[k] * (above[k] - below[k]) / 2e-6;
  }
  FRCNN_CHECK_SAME(drois.span(), expected, 1e-6, 1e-7);
  CHECK(std::count(expected.begin(), expected.end(), 0.0) == kRows + 4);
}
