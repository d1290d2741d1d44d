// What is known before the first step: coverage of the anchors, memory.
#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/host.h"
#include "engine/memory.h"
#include "kernels/boxes/iou_match.h"
#include "model/anchor_coverage.h"
#include "model/memory_estimate.h"
#include "model/trainer.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

Config detector(const std::string& backbone) {
  Config config;
  ModelConfig& m = config.model;
  m.backbone.name = backbone;
  m.backbone.frozen_until = "";
  m.anchors.sizes = {16, 32, 64};
  m.anchors.rounding = "none";
  m.rpn.train = {300, 50, 0.7, 2};
  m.rpn.batch = 64;
  m.roi.hidden = {32};
  m.roi.batch = 32;
  config.train.iter_size = 1;
  return config;
}

std::vector<CoverageImage> random_objects(int64_t images, uint64_t seed) {
  const auto numbers = random_vector<float>(static_cast<size_t>(images) * 20, 0, 1, seed);
  std::vector<CoverageImage> set;
  for (int64_t n = 0; n < images; ++n) {
    CoverageImage image;
    const float* r = numbers.data() + 20 * n;
    const int64_t h = 60 + static_cast<int64_t>(100 * r[0]),
                  w = 70 + static_cast<int64_t>(90 * r[1]);
    image.size = {h, w, 1, 1, (h + 7) / 8 * 8, (w + 7) / 8 * 8};
    for (int i = 0; i < 4; ++i) {
      const float x = r[4 * i + 2] * float(w - 4), y = r[4 * i + 3] * float(h - 4);
      image.truth.boxes.push_back({x, y, x + 3 + r[4 * i + 4] * (float(w) - x - 3),
                                   y + 3 + r[4 * i + 5 - (i == 3 ? 4 : 0)] * (float(h) - y - 3)});
      image.truth.labels.push_back(i % 3);
    }
    set.push_back(std::move(image));
  }
  return set;
}

}  // namespace

TEST_CASE("anchor coverage: the best IoUs are those of all anchors, inside and across the border") {
  for (const bool inside : {true, false})
    for (const std::string rule : {"nominal", "exact"})
      for (const std::string centre : {"cell", "corner"}) {
        Config config = detector("tiny");
        config.model.rpn.only_inside = inside;
        config.model.anchors.stride_rule = rule;
        config.model.anchors.centre = centre;
        config.model.rpn.match_best = inside;
        const FasterRcnn model(config.model, 3);
        const auto images = random_objects(12, 4);
        ClassCoverage expected;
        for (const CoverageImage& image : images) {
          const int64_t h = image.size.padded_height, w = image.size.padded_width;
          const auto map = model.backbone_spec().map_size(h, w);
          const Tensor anchors = model.anchors(map[0], map[1], h, w);
          const int64_t count = anchors.dim(0);
          std::vector<uint8_t> skip(static_cast<size_t>(count), 0);
          if (inside) {
            kernels::cpu::boxes_inside<float>(count, double(image.size.height),
                                              double(image.size.width), anchors.data<float>(),
                                              skip.data());
            for (uint8_t& s : skip) s = !s;
          }
          for (const Box& box : image.truth.boxes) {
            const float b[4] = {box.x1, box.y1, box.x2, box.y2};
            std::vector<float> best(static_cast<size_t>(count)), object(1);
            std::vector<int32_t> index(best.size());
            kernels::cpu::iou_best<float>(count, 1, anchors.data<float>(), b, skip.data(),
                                          best.data(), index.data(), object.data());
            const double iou = std::max(0.0F, object[0]);
            ++expected.objects;
            expected.at_least_50 += iou >= 0.5;
            expected.at_least_70 += iou >= 0.7;
            expected.learnable += iou >= 0.7 || (inside && iou > 0);
            expected.sum_of_best += iou;
          }
        }
        const AnchorCoverage found = anchor_coverage(model, images);
        CHECK(found.all.objects == 48);
        CHECK(found.all.at_least_50 == expected.at_least_50);
        CHECK(found.all.at_least_70 == expected.at_least_70);
        CHECK(found.all.learnable == expected.learnable);
        CHECK(found.all.sum_of_best == Approx(expected.sum_of_best).epsilon(1e-5));
        CHECK(expected.at_least_50 > 10);
        int64_t sum = 0, by_size = 0, binned = 0;
        for (const ClassCoverage& c : found.classes) sum += c.objects;
        for (const ClassCoverage& c : found.by_size) by_size += c.objects;
        for (const int64_t count : found.all.histogram) binned += count;
        CHECK(sum == 48);
        CHECK(by_size == 48);
        CHECK(binned == 48);
        int64_t upper = 0;
        for (size_t bin = 5; bin < 10; ++bin) upper += found.all.histogram[bin];
        CHECK(upper == found.all.at_least_50);
      }
}

TEST_CASE("anchor coverage: advised sizes and ratios lie where the objects are") {
  const FasterRcnn model(detector("tiny").model, 1);
  std::vector<CoverageImage> images(1);
  images[0].size = {600, 800, 1, 1, 600, 800};
  for (int i = 0; i < 30; ++i) {
    const float side = i < 10 ? 100.F : i < 20 ? 200.F : 300.F;
    images[0].truth.boxes.push_back({50, 50, 50 + side, 50 + 2 * side});
    images[0].truth.labels.push_back(0);
  }
  const AnchorCoverage found = anchor_coverage(model, images);
  CHECK(found.advised_sizes == std::vector<double>{144, 280, 424});
  CHECK(found.advised_ratios == std::vector<double>{2});
  CHECK(found.ratio[2] == Approx(2));
}

TEST_CASE("memory estimate: within 20 % of what a training step takes") {
  struct Case {
    std::string backbone, method;
    int64_t batch, h, w;
    bool norm;
    std::string frozen;
  };
  for (const Case& c :
       {Case{"tiny", "sgd", 2, 256, 320, true, ""}, Case{"zf", "adam", 1, 320, 400, false, ""},
        Case{"vgg16", "sgd", 1, 224, 256, false, "conv2_2"},
        Case{"vgg16", "sgd", 2, 160, 192, false, ""}}) {
    INFO(c.backbone << " " << c.method << " " << c.frozen);
    Config config = detector(c.backbone);
    config.optimizer.method = c.method;
    config.model.backbone.batch_norm = c.norm;
    config.model.backbone.frozen_until = c.frozen;
    CachingAllocator& memory = CachingAllocator::of(Device{});
    const size_t before = memory.stats().in_use;
    Trainer trainer(config, {"a", "b"}, 10);
    const MemoryEstimate estimate =
        estimate_training_memory(trainer.model(), c.method == "adam" ? 2 : 1, c.batch, c.h, c.w);
    memory.reset_peak();
    ModelInput input;
    input.images =
        Tensor::from({c.batch, 3, c.h, c.w},
                     random_vector<float>(static_cast<size_t>(c.batch * 3 * c.h * c.w), -1, 1, 5));
    std::vector<GroundTruth> truth;
    for (int64_t n = 0; n < c.batch; ++n) {
      input.sizes.push_back({c.h, c.w, 1, 1, c.h, c.w});
      truth.push_back({{{10, 20, 80, 100}, {60, 30, 150, 120}}, {0, 1}});
    }
    for (int step = 0; step < 2; ++step) {
      trainer.accumulate(input, truth);
      trainer.update();
    }
    const double measured = static_cast<double>(memory.stats().peak_in_use - before);
    const double ratio = static_cast<double>(estimate.total()) / measured;
    INFO("estimated " << estimate.total() << ", measured " << measured << ": weights "
                      << estimate.weights << " packed " << estimate.packed << " activations "
                      << estimate.activations);
    CHECK(ratio > 0.8);
    CHECK(ratio < 1.2);
  }
}

TEST_CASE("memory: the system tells how much is there, a limit lowers it") {
  const auto there = available_memory(Device{});
  REQUIRE(there);
  CHECK(*there > size_t{1} << 20);
  CachingAllocator& memory = CachingAllocator::of(Device{});
  memory.set_limit(memory.stats().in_use + (size_t{1} << 20));
  CHECK(*available_memory(Device{}) <= size_t{1} << 20);
  memory.set_limit(0);
}
