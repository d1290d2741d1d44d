// What passes of a whole detector take, by purpose.
#include "engine/memory.h"
#include "model/trainer.h"
#include "tests/model/small_detector.h"

// Builds with AddressSanitizer have no arenas: each block stands alone, with guards at its ends.
#ifndef __SANITIZE_ADDRESS__

using namespace frcnn;
using namespace frcnn::test;

namespace {

constexpr size_t kMiB = size_t{1} << 20;

Config vgg16_detector() {
  Config config;
  config.model.backbone.name = "vgg16";
  config.model.anchors.sizes = {16, 32, 64};
  config.model.rpn.train = {300, 50, 0.7, 2};
  config.model.rpn.batch = 64;
  config.model.roi.hidden = {32};
  config.model.roi.batch = 32;
  config.train.iter_size = 1;
  return config;
}

size_t weights_of(const FasterRcnn& model) {
  size_t bytes = 0;
  for (const Parameter& p : model.parameters().all()) bytes += p.tensor.stored_bytes();
  return bytes;
}

size_t part(const MemoryByPurpose& parts, MemoryPurpose purpose) {
  return parts[static_cast<size_t>(purpose)];
}

}  // namespace

TEST_CASE("memory: inference takes the weights, one copy of them, two maps and some scratch") {
  CachingAllocator& memory = CachingAllocator::of({});
  memory.release_cached();
  const MemoryStats before = memory.stats();
  const FasterRcnn model(vgg16_detector().model, 2);
  const size_t weights = weights_of(model);
  memory.reset_peak();
  for (int pass = 0; pass < 2; ++pass) model.detect(noise(1, 320, 384, 1));
  const MemoryStats after = memory.stats();
  const size_t map = size_t{64} * 320 * 384 * sizeof(float);  // of conv1_1 and conv1_2
  const size_t bound = weights + weights * 21 / 20 + 2 * map + 16 * kMiB;
  INFO("weights " << weights << " map " << map);
  CHECK(after.peak_in_use - before.in_use <= bound);
  // Blocks of all sizes, and little of it is lost between them.
  CHECK(after.peak_reserved - before.reserved <= bound + 16 * kMiB);
  CHECK(part(after.by_purpose, MemoryPurpose::packed) -
            part(before.by_purpose, MemoryPurpose::packed) <=
        weights * 21 / 20);
}

TEST_CASE("memory: a training step takes three arrays of weights, activations and scratch") {
  CachingAllocator& memory = CachingAllocator::of({});
  memory.release_cached();
  const MemoryStats before = memory.stats();
  memory.reset_peak();
  Trainer trainer(vgg16_detector(), {"a", "b", "c"}, 10);
  const size_t weights = weights_of(trainer.model());
  // Beside the three arrays the constructor holds weights twice, before the others are made.
  CHECK(memory.stats().peak_in_use - before.in_use <= 3 * weights + kMiB);
  trainer.model().detect(noise(1, 320, 384, 1));  // a validation in between packs weights
  for (int step = 0; step < 2; ++step) {
    memory.reset_peak();
    trainer.accumulate(noise(1, 320, 384, 2), two_objects());
    trainer.update();
  }
  const MemoryStats after = memory.stats();
  CHECK(part(after.peak_by_purpose, MemoryPurpose::gradients) -
            part(before.by_purpose, MemoryPurpose::gradients) <=
        weights);
  CHECK(part(after.peak_by_purpose, MemoryPurpose::optimizer) -
            part(before.by_purpose, MemoryPurpose::optimizer) <=
        weights);
  // Of the frozen layers alone: those of the validation are gone.
  CHECK(part(after.peak_by_purpose, MemoryPurpose::packed) -
            part(before.by_purpose, MemoryPurpose::packed) <=
        2 * kMiB);
  const size_t used = after.peak_in_use - before.in_use;
  CHECK(used <= 3 * weights + 256 * kMiB);
  CHECK(after.peak_reserved - before.reserved <= used + used / 10);
}

#endif
