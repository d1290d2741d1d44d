#include "engine/tensor.h"

#include "engine/memory.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

TEST_CASE("tensor: layouts keep the values, padding is zero") {
  const Shape shape{2, 21, 3, 5};
  const auto values = random_vector<float>(static_cast<size_t>(shape.numel()), -1, 1, 7);
  const Tensor plain = Tensor::from(shape, values);
  for (const int64_t block : {1, 8, 16, 21}) {
    const Tensor other = plain.to_block(block);
    CHECK(other.channel_block() == block);
    FRCNN_CHECK_SAME(other.to_vector<float>(), values, 0, 0);
    double stored = 0, logical = 0;
    for (const float v : other.span<float>()) stored += v;
    for (const float v : values) logical += v;
    CHECK(stored == Approx(logical).margin(1e-3));  // padding adds nothing
  }
}

TEST_CASE("tensor: views and rows share memory, clones don't") {
  Tensor a = Tensor::zeros({4, 6});
  a.view({2, 12}).fill(3);
  CHECK(a.data<float>()[23] == 3);
  a.rows(1, 2).fill(5);
  CHECK(a.data<float>()[6] == 5);
  CHECK(a.data<float>()[18] == 3);
  a.clone().fill(9);
  CHECK(a.data<float>()[0] == 3);
}

TEST_CASE("tensor: misuse is refused with a sentence") {
  const Tensor a = Tensor::zeros({2, 3});
  CHECK_THROWS_WITH(a.view({5}), mentions("(5) does not hold as many elements as (2, 3)"));
  CHECK_THROWS_WITH(a.data<double>(), mentions("expected f64 elements, found f32"));
  CHECK_THROWS_WITH(a.rows(1, 2), mentions("rows 1 to 3 do not exist"));
  CHECK_THROWS_WITH(Tensor().shape(), mentions("before it was given a value"));
  CHECK_THROWS_WITH(Tensor::from({2}, std::vector<float>{1}), mentions("needs 2 values, got 1"));
}

TEST_CASE("memory: blocks are reused, the peak is reported, the limit holds") {
  CachingAllocator& memory = CachingAllocator::of({});
  memory.release_cached();
  memory.reset_peak();
  const MemoryStats before = memory.stats();
  { const Tensor a = Tensor::empty({1 << 20}); }
  const MemoryStats once = memory.stats();
  CHECK(once.peak_in_use - before.in_use == (size_t{4} << 20));
  CHECK(once.in_use == before.in_use);
  { const Tensor b = Tensor::empty({(1 << 20) - 1000}); }
  CHECK(memory.stats().system_calls == once.system_calls);  // served by the kept block
  memory.set_limit(memory.stats().reserved + (size_t{1} << 20));
  CHECK_THROWS_WITH(Tensor::empty({64 << 20}), mentions("would pass the limit"));
  CHECK_NOTHROW(Tensor::empty({1 << 10}));
  memory.set_limit(0);
  CHECK_NOTHROW(Tensor::empty({64 << 20}));
  memory.release_cached();
}
