#include "data/epoch_plan.h"

#include <algorithm>
#include <cmath>

#include "data/loader.h"
#include "kernels/launch/check.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

Dataset with_labels(const std::vector<std::vector<int>>& labels) {
  Dataset set;
  set.class_names = {"often", "rare"};
  for (const auto& list : labels) {
    ImageRecord image;
    for (const int label : list) {
      Object object;
      object.label = label;
      image.objects.push_back(object);
    }
    set.images.push_back(image);
  }
  return set;
}

}  // namespace

TEST_CASE("epoch plan: repeat factors are those of LVIS") {
  Dataset set = with_labels({{0}, {0, 0}, {0, 1}, {}});
  CHECK(repeat_factors(set, 0) == std::vector<double>{1, 1, 1, 1});
  CHECK(repeat_factors(set, 0.25) == std::vector<double>{1, 1, 1, 1});
  CHECK(repeat_factors(set, 1) ==
        std::vector<double>{std::sqrt(1 / 0.75), std::sqrt(1 / 0.75), 2, 1});
  set.images[2].objects[1].difficult = true;
  CHECK(repeat_factors(set, 1)[2] == std::sqrt(1 / 0.75));
}

TEST_CASE("epoch plan: equal factors give every picture once") {
  for (int64_t epoch = 0; epoch < 5; ++epoch) {
    const EpochPlan plan = plan_epoch(37, std::vector<double>(37, 1.3), {}, 4, 2, epoch);
    CHECK(plan.pictures == epoch_order(37, 2, epoch));
    CHECK(plan.copies == std::vector<int64_t>(37, 0));
    CHECK(plan_epoch(37, {}, {}, 4, 2, epoch).pictures == plan.pictures);
  }
}

TEST_CASE("epoch plan: pictures are seen in proportion to their factors") {
  std::vector<double> factors(20, 1);
  factors[3] = 4, factors[11] = 2.5;
  const double scale = 20 / (18 + 4 + 2.5);
  std::vector<int64_t> seen(20, 0);
  constexpr int kEpochs = 400;
  for (int64_t epoch = 0; epoch < kEpochs; ++epoch) {
    const EpochPlan plan = plan_epoch(20, factors, {}, 1, 7, epoch);
    REQUIRE(plan.pictures.size() == 20);
    std::vector<int64_t> own(20, 0);
    for (size_t i = 0; i < plan.pictures.size(); ++i) {
      const auto at = static_cast<size_t>(plan.pictures[i]);
      CHECK(plan.copies[i] == own[at]);
      ++own[at], ++seen[at];
    }
    for (size_t i = 0; i < own.size(); ++i)
      CHECK(std::abs(static_cast<double>(own[i]) - factors[i] * scale) < 1.0001);
  }
  for (size_t i = 0; i < seen.size(); ++i)
    CHECK(static_cast<double>(seen[i]) / kEpochs == Approx(factors[i] * scale).margin(0.09));
}

TEST_CASE("epoch plan: batches hold one shape, over the ends of epochs too") {
  std::vector<uint8_t> tall(23, 0);
  for (size_t i = 0; i < tall.size(); i += 3) tall[i] = 1;
  for (const int64_t batch : {1, 2, 4, 5}) {
    std::vector<int64_t> stream;
    constexpr int64_t kEpochs = 6;
    for (int64_t epoch = 0; epoch < kEpochs; ++epoch) {
      const EpochPlan plan = plan_epoch(23, {}, tall, batch, 5, epoch);
      CHECK(plan.pictures == plan_epoch(23, {}, tall, batch, 5, epoch).pictures);
      std::vector<int64_t> sorted = plan.pictures;
      std::sort(sorted.begin(), sorted.end());
      for (int64_t i = 0; i < 23; ++i) REQUIRE(sorted[static_cast<size_t>(i)] == i);
      stream.insert(stream.end(), plan.pictures.begin(), plan.pictures.end());
    }
    int64_t mixed = 0;
    for (size_t at = 0; at + static_cast<size_t>(batch) <= stream.size();
         at += static_cast<size_t>(batch)) {
      int64_t talls = 0;
      for (size_t i = at; i < at + static_cast<size_t>(batch); ++i)
        talls += tall[static_cast<size_t>(stream[i])];
      mixed += talls != 0 && talls != batch;
    }
    INFO(batch);
    CHECK(mixed <= 2 * kEpochs);  // what fills no batch, and what completes it
    if (batch == 1) CHECK(mixed == 0);
  }
  CHECK(plan_epoch(23, {}, tall, 4, 5, 0).pictures != plan_epoch(23, {}, tall, 4, 5, 1).pictures);
  CHECK(plan_epoch(23, {}, tall, 4, 5, 0).pictures != plan_epoch(23, {}, tall, 4, 6, 0).pictures);
}
