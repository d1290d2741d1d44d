// Kernels of a training step one behind the other, recorded as a graph: nothing waits for the host.
#include "kernels/boxes/anchors.h"
#include "kernels/boxes/iou_match.h"
#include "kernels/boxes/nms.h"
#include "kernels/boxes/rows.h"
#include "kernels/boxes/sample.h"
#include "kernels/boxes/topk.h"
#include "kernels/losses/cross_entropy.h"
#include "kernels/optim/gradients.h"
#include "kernels/optim/sgd.h"
#include "tests/gpu/gpu_support.h"
#include "tests/kernels/box_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {
constexpr int64_t kImages = 2, kAnchors = 4 * 6 * 9, kObjects = 3, kSteps = 3;
constexpr double kHeight = 64 * 16, kWidth = 96 * 16;
const SampleParams kSample{40, 12};
const RandomKey kKey{5, kStreamAnchorSample, 0};

/// Three steps on the CPU: logits are the parameters.
std::vector<double> steps_on_cpu(const std::vector<double>& anchors,
                                 const std::vector<double>& truth, std::vector<double> logits,
                                 std::vector<double>& losses) {
  const auto rows = static_cast<size_t>(kImages * kAnchors);
  std::vector<double> velocity(2 * rows, 0.0), p(2 * rows), gradient(2 * rows);
  for (int64_t step = 1; step <= kSteps; ++step) {
    std::vector<int32_t> labels(rows), index(rows);
    std::vector<double> best(rows), object_best(kObjects);
    int64_t sampled = 0;
    for (int64_t n = 0; n < kImages; ++n) {
      const int64_t row = n * kAnchors;
      std::vector<uint8_t> skip(static_cast<size_t>(kAnchors));
      cpu::boxes_inside(kAnchors, kHeight, kWidth, anchors.data(), skip.data());
      for (uint8_t& s : skip) s = static_cast<uint8_t>(1 - s);
      const double* objects = truth.data() + 4 * n * kObjects;
      cpu::iou_best(kAnchors, kObjects, anchors.data(), objects, skip.data(), best.data() + row,
                    index.data() + row, object_best.data());
      cpu::match_labels({}, kAnchors, kObjects, anchors.data(), objects, skip.data(),
                        best.data() + row, object_best.data(), labels.data() + row);
      RandomKey key = kKey;
      key.stream += kStreamStride * static_cast<uint32_t>(n);
      key.step = static_cast<uint64_t>(step);
      const SampleCounts c = cpu::sample_labels(kSample, key, kAnchors, labels.data() + row);
      sampled += c.positive + c.negative;
    }
    const double scale = 1.0 / static_cast<double>(sampled);
    losses.push_back(scale * cpu::softmax_cross_entropy_forward(static_cast<int64_t>(rows), 2,
                                                                logits.data(), labels.data(),
                                                                p.data()));
    cpu::softmax_cross_entropy_backward(static_cast<int64_t>(rows), 2, scale, p.data(),
                                        labels.data(), gradient.data());
    cpu::sgd_step(2 * static_cast<int64_t>(rows), {0.5}, gradient.data(), logits.data(),
                  velocity.data());
  }
  return logits;
}
}  // namespace

TEST_CASE("GPU chain: a recorded training step draws, scales and updates as the CPU does") {
  std::vector<double> anchors(static_cast<size_t>(4 * kAnchors));
  AnchorParams params;
  params.sizes = {96, 160, 300};
  cpu::grid_anchors(params, 4, 6, 256.0, 256.0, anchors.data());
  const auto truth = random_boxes<double>(kImages * kObjects, 800, 100, 300, 4);
  const auto logits = random_vector<double>(static_cast<size_t>(2 * kImages * kAnchors), -1, 1, 5);
  std::vector<double> losses;
  const std::vector<double> expected = steps_on_cpu(anchors, truth, logits, losses);
  CHECK((losses[0] > losses[2] && losses[2] > 0));
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    constexpr size_t kRows = kImages * kAnchors;
    const gpu::Stream stream = gpu::create_stream<B>();
    const DeviceArray<B, double> boxes(anchors), objects(truth), w(logits),
        v(std::vector<double>(2 * kRows)), p(2 * kRows), g(2 * kRows), best(kRows),
        object_best(kImages * kObjects), scale(1), loss(1), squares(1);
    const DeviceArray<B, uint8_t> skip(kRows);
    const DeviceArray<B, int32_t> index(kRows), labels(kRows), counts(2 * kImages);
    const DeviceArray<B, ImageLimits<double>> limits(
        std::vector<ImageLimits<double>>(kImages, {kHeight, kWidth, 0, 0}));
    const DeviceArray<B, StepScalars> scalars(std::vector<StepScalars>(1));
    const DeviceArray<B, FiniteFlag> flag(std::vector<FiniteFlag>(1));
    const Segments segments{kImages, kAnchors};
    DeviceArray<B, unsigned char> work(gpu::kLossWorkspace), gradient_work(gpu::kGradientWorkspace);
    work.zero();
    gradient_work.zero();
    const DeviceArray<B, unsigned char> sample_work(
        gpu::sample_workspace<B>(segments, SampleVersion::radix));
    gpu::synchronize<B>(nullptr);
    const int64_t* step = &scalars.data()->step;
    const MatchBatch batch{kImages, kAnchors, kObjects, true};
    const gpu::Graph<B> graph(stream, [&] {
      gpu::boxes_inside<B>(stream, kImages, kAnchors, limits.data(), boxes.data(), skip.data(),
                           uint8_t{0});
      gpu::iou_best<B>(stream, batch, boxes.data(), objects.data(), skip.data(), best.data(),
                       index.data(), object_best.data());
      gpu::match_labels<B>(stream, {}, batch, boxes.data(), objects.data(), skip.data(),
                           best.data(), object_best.data(), labels.data());
      gpu::sample_labels<B>(stream, kSample, kKey, segments, labels.data(), counts.data(), nullptr,
                            sample_work.data(), reinterpret_cast<const uint64_t*>(step));
      gpu::loss_scale<B>(stream, 1.0, 2 * kImages, counts.data(), scale.data());
      gpu::softmax_cross_entropy_forward<B, double>(
          stream, kRows, 2, {1.0, scale.data()}, w.data(), labels.data(), p.data(), loss.data(),
          work.data(), nullptr, nullptr, {flag.data(), step, 0, 0});
      gpu::softmax_cross_entropy_backward<B>(stream, kRows, 2, {1.0, scale.data()}, p.data(),
                                             labels.data(), g.data());
      gpu::check_gradients<B>(stream, 2 * kRows, g.data(), {flag.data(), step, 0, 1},
                              squares.data(), gradient_work.data());
      gpu::sgd_step<B>(stream, 2 * kRows, {0.5}, g.data(), w.data(), v.data(), scalars.data(),
                       {flag.data(), step, 0, 2});
      gpu::advance_step<B>(stream, scalars.data());
    });
    for (int64_t i = 0; i < kSteps; ++i) {
      graph.replay(stream);
      gpu::synchronize<B>(stream);
      CHECK(std::abs(loss.host()[0] - losses[static_cast<size_t>(i)]) < 1e-12);
    }
    CHECK(scalars.host()[0].step == kSteps + 1);
    CHECK(flag.host()[0].all_finite());
    FRCNN_CHECK_SAME(w.host(), expected, 1e-12, 1e-12);
    gpu::destroy_stream<B>(stream);
  });
}

TEST_CASE("GPU chain: ranking, gathering and suppression recorded once, replayed with new scores") {
  constexpr int64_t kCount = 500, kBest = 200, kMost = 30;
  const auto boxes = clustered_boxes<float>(kImages * kCount, 12, 200, 1);
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const gpu::Stream stream = gpu::create_stream<B>();
    const DeviceArray<B, float> db(boxes), scores(static_cast<size_t>(kImages * kCount)),
        sorted(static_cast<size_t>(kImages * kBest * 4)),
        kept_boxes(static_cast<size_t>(kImages * kMost * 4));
    const DeviceArray<B, int32_t> order(static_cast<size_t>(kImages * kBest)), used(kImages),
        kept(static_cast<size_t>(kImages * kMost)), counts(kImages);
    const Segments all{kImages, kCount}, best{kImages, kBest, used.data()};
    const DeviceArray<B, unsigned char> rank_work(
        gpu::top_k_workspace<B, float>(all, kBest, TopKVersion::grid)),
        nms_work(gpu::nms_workspace<B>(best, NmsVersion::windows));
    gpu::synchronize<B>(nullptr);
    const gpu::Graph<B> graph(stream, [&] {
      gpu::top_k_segments<B, float>(stream, all, kBest, scores.data(), nullptr, order.data(),
                                    used.data(), rank_work.data());
      gpu::gather_rows<B>(stream, kImages * kBest, 4, 0.0f, order.data(), db.data(), sorted.data());
      gpu::nms_sorted<B, float>(stream, best, 0.5, kMost, sorted.data(), nullptr, nullptr,
                                kept.data(), counts.data(), nms_work.data());
      gpu::gather_rows<B>(stream, kImages * kMost, 4, -1.0f, kept.data(), sorted.data(),
                          kept_boxes.data());
    });
    for (uint64_t seed = 1; seed < 3; ++seed) {
      const auto now = random_vector<float>(static_cast<size_t>(kImages * kCount), 0, 1, seed);
      gpu::copy_to_device<B>(stream, scores.data(), now.data(), now.size() * sizeof(float));
      graph.replay(stream);
      gpu::synchronize<B>(stream);
      std::vector<float> expected;
      for (int64_t n = 0; n < kImages; ++n) {
        std::vector<int64_t> ranked(kBest), chosen(kMost);
        cpu::top_k(kCount, kBest, now.data() + n * kCount, nullptr, ranked.data());
        std::vector<float> in_order;
        for (const int64_t i : ranked)
          in_order.insert(in_order.end(), boxes.begin() + 4 * (n * kCount + i),
                          boxes.begin() + 4 * (n * kCount + i) + 4);
        chosen.resize(static_cast<size_t>(
            cpu::nms_sorted<float>(kBest, 0.5, kMost, in_order.data(), nullptr, chosen.data())));
        for (const int64_t i : chosen)
          expected.insert(expected.end(), in_order.begin() + 4 * i, in_order.begin() + 4 * i + 4);
        expected.resize(static_cast<size_t>((n + 1) * kMost * 4), -1.0f);
      }
      FRCNN_CHECK_SAME(kept_boxes.host(), expected, 0, 0);
    }
    gpu::destroy_stream<B>(stream);
  });
}
