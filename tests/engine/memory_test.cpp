#include "engine/memory.h"

#include <cstring>

#include "engine/arena.h"
#include "engine/layers.h"
#include "engine/tape.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

constexpr size_t kGrain = Arena::kGrain;

size_t bytes_for(MemoryPurpose purpose) {
  return CachingAllocator::of({}).stats().by_purpose[static_cast<size_t>(purpose)];
}

}  // namespace

TEST_CASE("arena: blocks of many sizes one after the other take no more than the largest") {
  Arena arena(1024 * kGrain);
  size_t largest = 0;
  for (const size_t grains : {3, 50, 7, 200, 120, 200, 1, 199}) {
    largest = std::max(largest, grains);
    void* block = arena.allocate(grains * kGrain);
    REQUIRE(block != nullptr);
    CHECK(reinterpret_cast<uintptr_t>(block) % kGrain == 0);
    std::memset(block, 1, grains * kGrain);
    CHECK(arena.resident() == largest * kGrain);
    arena.release(block);
  }
}

TEST_CASE("arena: the smallest free block serves, freed neighbours merge, growth is told") {
  Arena arena(1024 * kGrain);
  const auto make = [&](size_t grains) { return arena.allocate(grains * kGrain); };
  void *a = make(10), *b = make(4), *c = make(20), *d = make(4), *e = make(10);
  CHECK(arena.resident() == 48 * kGrain);
  arena.release(c);
  arena.release(a);
  CHECK(arena.growth(9 * kGrain) == 0);
  void* again = make(9);
  CHECK(again == a);
  arena.release(again);
  CHECK(arena.growth(30 * kGrain) == 30 * kGrain);  // 10 and 20 are apart
  arena.release(b);
  CHECK(arena.growth(34 * kGrain) == 0);
  arena.release(e);
  CHECK(arena.growth(34 * kGrain) == 0);
  CHECK(arena.growth(40 * kGrain) == 30 * kGrain);  // e's grains and new ones behind them
  arena.release(d);
  CHECK(arena.growth(50 * kGrain) == 2 * kGrain);
  CHECK(make(48) == a);
  CHECK(arena.owns(a));
  CHECK_FALSE(arena.owns(&arena));
}

TEST_CASE("arena: trim() gives free pages back, and blocks in use keep their values") {
  Arena arena(64 * kGrain);
  auto* kept = static_cast<unsigned char*>(arena.allocate(kGrain));
  void* freed = arena.allocate(20 * kGrain);
  std::memset(kept, 7, kGrain);
  std::memset(freed, 8, 20 * kGrain);
  arena.release(freed);
  arena.trim();
  CHECK(arena.resident() == kGrain);
  CHECK(kept[kGrain - 1] == 7);
  CHECK(arena.growth(20 * kGrain) == 20 * kGrain);
  const auto* fresh = static_cast<unsigned char*>(arena.allocate(20 * kGrain));
  CHECK(fresh[0] == 0);  // pages new from the system
  CHECK(arena.allocate(64 * kGrain) == nullptr);
  Arena returning(64 * kGrain, Arena::Freed::returned);
  void* passing = returning.allocate(5 * kGrain);
  CHECK(returning.resident() == 5 * kGrain);
  returning.release(passing);
  CHECK(returning.resident() == 0);
  Arena none(0);
  CHECK(none.allocate(kGrain) == nullptr);
}

TEST_CASE("memory: the peak is told by purpose") {
  CachingAllocator& memory = CachingAllocator::of({});
  const MemoryStats before = memory.stats();
  memory.reset_peak();
  constexpr size_t kBytes = size_t{4} << 20;
  {
    const MemoryPurposeScope scratch(MemoryPurpose::scratch);
    const Tensor a = Tensor::empty({kBytes}, DType::u8);
    const MemoryPurposeScope packed(MemoryPurpose::packed);
    const Tensor b = Tensor::empty({2 * kBytes}, DType::u8);
  }
  const Tensor later = Tensor::empty({kBytes}, DType::u8);
  const MemoryStats after = memory.stats();
  const auto grown = [&](const MemoryByPurpose& now, MemoryPurpose p) {
    return now[static_cast<size_t>(p)] - before.by_purpose[static_cast<size_t>(p)];
  };
  CHECK(after.peak_in_use - before.in_use == 3 * kBytes);
  CHECK(grown(after.peak_by_purpose, MemoryPurpose::scratch) == kBytes);
  CHECK(grown(after.peak_by_purpose, MemoryPurpose::packed) == 2 * kBytes);
  CHECK(grown(after.peak_by_purpose, MemoryPurpose::activations) == 0);
  CHECK(grown(after.by_purpose, MemoryPurpose::scratch) == 0);
  CHECK(grown(after.by_purpose, MemoryPurpose::activations) == kBytes);
}

TEST_CASE("memory: training keeps no packed copy of weights that it changes") {
  Parameters parameters(1);
  const Conv2d conv(parameters, "conv", 64, 64, 3, Conv2dOptions::square(1, 1, true),
                    {Initializer::Method::gauss, 0.1});
  const Linear dense(parameters, "dense", 64 * 16 * 16, 32, false,
                     {Initializer::Method::gauss, 0.01});
  const Tensor x =
      Tensor::from({1, 64, 16, 16}, random_vector<float>(size_t{64} * 16 * 16, -1, 1, 3));
  const auto forward = [&] {
    return dense.forward(conv.forward(x).to_block(1).view({1, 64 * 16 * 16}));
  };
  const size_t before = bytes_for(MemoryPurpose::packed);
  const std::vector<float> inferred = forward().to_vector<float>();
  CHECK(bytes_for(MemoryPurpose::packed) > before);  // packed once, for the pictures to come
  Tape tape;
  Tensor y;
  {
    Tape::Scope recording(tape);
    Tensor map = conv.forward(x);
    y = map;
  }
  Tensor ones = Tensor::empty(y.shape(), y.dtype(), y.device(), y.channel_block());
  ones.copy_from(y);
  tape.backward({{y, ones}});
  const size_t dense_copy = bytes_for(MemoryPurpose::packed) - before;
  CHECK(dense_copy <= parameters.find("dense.weight")->tensor.stored_bytes() * 5 / 4);
  CHECK(forward().to_vector<float>() == inferred);
}

TEST_CASE("memory: packed convolution weights take no more than the weights themselves") {
  Parameters parameters(1);
  const Conv2d conv(parameters, "conv", 64, 128, 3, Conv2dOptions::square(1, 1, true),
                    {Initializer::Method::gauss, 0.1});
  const size_t before = bytes_for(MemoryPurpose::packed);
  conv.forward(Tensor::zeros({1, 64, 40, 56}));
  const size_t weights = parameters.find("conv.weight")->tensor.stored_bytes();
  CHECK(bytes_for(MemoryPurpose::packed) - before <= weights + weights / 4);
}
