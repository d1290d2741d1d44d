#include <cmath>

#include "kernels/boxes/codec.h"
#include "kernels/boxes/proposal_decode.h"
#include "kernels/boxes/roi_targets.h"
#include "tests/gpu/gpu_support.h"

using namespace frcnn::kernels;
using namespace frcnn::test;

TEMPLATE_TEST_CASE("GPU proposal_decode equals the CPU's, and the proposal layer's boxes", "",
                   float, double) {
  using T = TestType;
  for (const int64_t count : {1, 40, 700})
    for (const uint64_t seed : {1, 2, 3}) {
      const int64_t images = 2, rows = 300;
      const auto u = random_vector<T>(static_cast<size_t>(4 * count), 0, 1, seed);
      std::vector<T> anchors;
      for (size_t i = 0; i < u.size(); i += 4)
        for (const T v : {u[i] * 90, u[i + 1] * 60, u[i] * 90 + 4 + 20 * u[i + 2],
                          u[i + 1] * 60 + 4 + 20 * u[i + 3]})
          anchors.push_back(v);
      auto deltas = random_vector<T>(static_cast<size_t>(4 * images * count), -1, 1, seed + 9);
      deltas[2] = 6;  // cut
      const std::vector<ImageLimits<T>> limits = {{60, 90, 0, 0}, {50, 80, 0, 0}};
      // Every third row is a constant; sources in no order, none twice.
      std::vector<int32_t> sources;
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t source = r * 7 % (images * count);
        const bool fresh = r * 7 < images * count && r % 3 != 2;
        sources.push_back(fresh ? static_cast<int32_t>(source) : -1);
      }
      const auto constants = random_vector<T>(5 * rows, 0, 50, seed + 20);
      const auto drois = random_vector<T>(5 * rows, -1, 1, seed + 30);
      std::vector<T> rois(constants.size()), ddeltas(deltas.size());
      cpu::proposal_decode(images, count, rows, anchors.data(), deltas.data(), limits.data(),
                           sources.data(), constants.data(), rois.data());
      cpu::proposal_decode_backward(images, count, rows, anchors.data(), deltas.data(),
                                    limits.data(), sources.data(), drois.data(), ddeltas.data());
      const double tol = sizeof(T) == 8 ? 1e-13 : 2e-5;
      for_backends([&](auto on) {
        constexpr Backend B = decltype(on)::backend;
        INFO(count << " anchors, seed " << seed);
        const DeviceArray<B, T> in(anchors), by(deltas), fixed(constants), gradient(drois),
            out(rois.size()), back(deltas.size()), boxes(deltas.size());
        const DeviceArray<B, ImageLimits<T>> sizes(limits);
        const DeviceArray<B, int32_t> from(sources);
        const DeviceArray<B, uint8_t> keep(static_cast<size_t>(images * count));
        gpu::proposal_decode<B>(nullptr, images, count, rows, in.data(), by.data(), sizes.data(),
                                from.data(), fixed.data(), out.data());
        FRCNN_CHECK_SAME(out.host(), rois, tol, tol);
        gpu::decode_proposals<B>(nullptr, {}, images, count, in.data(), by.data(), sizes.data(),
                                 boxes.data(), keep.data());
        const auto decoded = boxes.host(), result = out.host();
        for (size_t r = 0; r < rows; ++r)
          for (size_t k = 0; k < 4 && sources[r] >= 0; ++k)
            CHECK(result[5 * r + 1 + k] == decoded[4 * static_cast<size_t>(sources[r]) + k]);
        gpu::proposal_decode_backward<B>(nullptr, images, count, rows, in.data(), by.data(),
                                         sizes.data(), from.data(), gradient.data(), back.data());
        FRCNN_CHECK_SAME(back.host(), ddeltas, tol, tol);
      });
    }
}

TEST_CASE("GPU proposal_decode: a source that stands twice gives NaN, one out of range nothing") {
  const std::vector<double> anchors = {1, 2, 11, 14, 3, 3, 20, 30}, deltas(8, 0.1), drois(20, 1);
  const std::vector<int32_t> sources = {1, 5, 1, -1};
  const std::vector<ImageLimits<double>> limits = {{60, 90, 0, 0}};
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const DeviceArray<B, double> in(anchors), by(deltas), gradient(drois), back(8);
    const DeviceArray<B, ImageLimits<double>> sizes(limits);
    const DeviceArray<B, int32_t> from(sources);
    gpu::proposal_decode_backward<B>(nullptr, 1, 2, 4, in.data(), by.data(), sizes.data(),
                                     from.data(), gradient.data(), back.data());
    const auto result = back.host();
    for (size_t i = 0; i < 8; ++i) CHECK((i < 4 ? result[i] == 0 : std::isnan(result[i])));
  });
}

TEMPLATE_TEST_CASE("GPU roi_targets_backward equals the CPU's", "", float, double) {
  using T = TestType;
  const BoxCodecParams codec{{0.1, 0, 0.2, 0}, {0.1, 0.1, 0.2, 0.2}};
  for (const int64_t rows : {1, 130, 300})
    for (const int64_t groups : {1, 4}) {
      const auto u = random_vector<T>(static_cast<size_t>(4 * rows), 0, 1, 3);
      std::vector<T> rois,
          ddeltas = random_vector<T>(static_cast<size_t>(4 * groups * rows), -1, 1, 5);
      for (size_t i = 0; i < u.size(); i += 4)
        for (const T v : {T(0), u[i] * 90, u[i + 1] * 60, u[i] * 90 + 4 + 20 * u[i + 2],
                          u[i + 1] * 60 + 4 + 20 * u[i + 3]})
          rois.push_back(v);
      // Every other row is background with a RoI of no size.
      for (int64_t r = 1; r < rows; r += 2) {
        std::fill_n(ddeltas.begin() + 4 * groups * r, 4 * groups, T(0));
        std::fill_n(rois.begin() + 5 * r, 5, T(0));
      }
      const auto targets = random_vector<T>(static_cast<size_t>(4 * rows), -1, 1, 4);
      std::vector<T> expected(rois.size());
      cpu::roi_targets_backward(codec, rows, groups, rois.data(), targets.data(), ddeltas.data(),
                                expected.data());
      const double tol = sizeof(T) == 8 ? 1e-13 : 2e-5;
      for_backends([&](auto on) {
        constexpr Backend B = decltype(on)::backend;
        INFO(rows << " rows, " << groups << " groups");
        const DeviceArray<B, T> boxes(rois), by(targets), gradient(ddeltas), out(rois.size());
        gpu::roi_targets_backward<B>(nullptr, codec, rows, groups, boxes.data(), by.data(),
                                     gradient.data(), out.data());
        FRCNN_CHECK_SAME(out.host(), expected, tol, tol);
      });
    }
}
