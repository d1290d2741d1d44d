// Planted mistakes, each found by the emulation, beside the right kernel, which passes.
#include "kernels/launch/check.h"
#include "kernels/launch/gpu.cuh"
#include "tests/gpu/gpu_support.h"

#if FRCNN_HAVE_EMULATION

namespace frcnn::kernels::gpu {
namespace {
using namespace frcnn::test;
using Catch::Matchers::Contains;
using emulation::Options;
using emulation::Schedule;
using emulation::Scope;

constexpr Options kSchedules[] = {
    {Schedule::in_order, 0, true}, {Schedule::reversed, 0, true}, {Schedule::random, 1, true},
    {Schedule::random, 2, true},   {Schedule::random, 3, false},
};

enum class Bug : uint8_t {
  none,
  missing_barrier,
  divergent_barrier,
  early_return,
  unset_shared,
  missing_warp_sync,
  bad_mask,
  missing_wait,
  unwaited_copy,
};

/// Reverses each block's 64 numbers through shared memory.
__global__ void reverse(Bug bug, int count, const float* x, float* y) {
  FRCNN_SHARED(float, tile, [64]);
  const unsigned t = threadIdx.x;
  const int i = static_cast<int>(blockIdx.x * 64 + t);
  if (bug == Bug::early_return && i >= count) return;
  if (i < count || bug != Bug::unset_shared) tile[t] = i < count ? x[i] : 0;
  if (bug == Bug::divergent_barrier) {
    if (t < 32) {
      __syncthreads();
    } else {
      __syncthreads();
    }
  } else if (bug != Bug::missing_barrier) {
    __syncthreads();
  }
  if (i < count) y[i] = tile[63 - t];
}

/// Sum of each warp's 32 numbers through shared memory.
__global__ void warp_total(Bug bug, const float* x, float* y) {
  FRCNN_SHARED(float, tile, [32]);
  const unsigned t = threadIdx.x;
  tile[t] = x[t];
  for (unsigned step = 16; step > 0; step /= 2) {
    if (bug != Bug::missing_warp_sync) __syncwarp();
    const float other = tile[t ^ step];
    if (bug != Bug::missing_warp_sync) __syncwarp();
    tile[t] += other;
  }
  if (bug == Bug::bad_mask) {
    if (t < 16) tile[t] = __shfl_sync(0xFFFFu, tile[t], 20);
  }
  y[t] = tile[t];
}

__global__ void copy_through_shared(Bug bug, int count, const float* x, float* y) {
  FRCNN_DYNAMIC_SHARED(float, tile);
  const int t = static_cast<int>(threadIdx.x);
  async_copy<4>(tile + t, x + t, t < count);
  async_commit();
  if (bug == Bug::missing_wait) {
    async_wait<1>();
  } else if (bug != Bug::unwaited_copy) {
    async_wait<0>();
  }
  __syncthreads();
  y[t] = tile[63 - t];
  if (bug == Bug::missing_wait) async_wait<0>();
}

std::vector<float> numbers(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i + 1);
  return values;
}
std::vector<float> reversed_blocks(const std::vector<float>& x) {
  std::vector<float> y(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t from = i / 64 * 64 + 63 - i % 64;
    y[i] = from < x.size() ? x[from] : 0;
  }
  return y;
}
using Emulated = DeviceArray<Backend::emulated, float>;

std::vector<float> run_reverse(Bug bug, const std::vector<float>& x) {
  const Emulated dx(x), y(x.size());
  launch({"reverse", blocks_for(static_cast<int64_t>(x.size()), 64), 64}, reverse, bug,
         static_cast<int>(x.size()), dx.data(), y.data());
  return y.host();
}
bool differs(const std::vector<float>& a, const std::vector<float>& b) {
  return difference(a, b, 0, 0) != "";
}
/// Whether some schedule gives another result than `expected`.
template <typename Run>
bool some_schedule_differs(const std::vector<float>& expected, const Run& run) {
  bool found = false;
  for (const Options& options : kSchedules) {
    const Scope scope(options);
    found = found || differs(run(), expected);
  }
  return found;
}

}  // namespace

TEST_CASE("emulation: a right kernel gives the same under every schedule") {
  const auto x = numbers(1000);
  CHECK_FALSE(some_schedule_differs(reversed_blocks(x), [&] { return run_reverse(Bug::none, x); }));
}

TEST_CASE("emulation finds a missing barrier") {
  const auto x = numbers(640);
  CHECK(some_schedule_differs(reversed_blocks(x),
                              [&] { return run_reverse(Bug::missing_barrier, x); }));
}

TEST_CASE("emulation names the two places of a divergent barrier") {
  for (const Options& options : kSchedules) {
    const Scope scope(options);
    CHECK_THROWS_WITH(run_reverse(Bug::divergent_barrier, numbers(64)),
                      Contains("[reverse] emulation_test.cpp:") && Contains("divergent barrier"));
  }
}

TEST_CASE("emulation finds threads that leave before a barrier") {
  for (const Options& options : kSchedules) {
    const Scope scope(options);
    CHECK_THROWS_WITH(run_reverse(Bug::early_return, numbers(100)),
                      Contains("28 of 64 threads have left the kernel") &&
                          Contains("waits in __syncthreads at emulation_test.cpp:"));
  }
}

TEST_CASE("emulation poisons shared memory: what was never written is NaN") {
  const auto x = numbers(100);
  CHECK_FALSE(differs(run_reverse(Bug::none, x), reversed_blocks(x)));
  CHECK(std::isnan(run_reverse(Bug::unset_shared, x)[64]));
}

TEST_CASE("emulation finds warp code without __syncwarp and shuffles outside the mask") {
  const auto x = numbers(32);
  const auto run = [&](Bug bug) {
    const Emulated dx(x), y(32);
    launch({"warp_total", 1, 32}, warp_total, bug, dx.data(), y.data());
    return y.host();
  };
  const std::vector<float> expected(32, 528);
  CHECK_FALSE(some_schedule_differs(expected, [&] { return run(Bug::none); }));
  CHECK(some_schedule_differs(expected, [&] { return run(Bug::missing_warp_sync); }));
  CHECK_THROWS_WITH(run(Bug::bad_mask), Contains("reads lane 20, which is not in the mask 0xffff"));
}

TEST_CASE("emulation finds asynchronous copies that nobody waits for") {
  const auto x = numbers(50);
  auto padded = x;
  padded.resize(64);
  const std::vector<float> expected(padded.rbegin(), padded.rend());
  const auto run = [&](Bug bug) {
    const Emulated dx(x), y(64);
    launch({"copy_through_shared", 1, 64, 64 * sizeof(float)}, copy_through_shared, bug, 50,
           dx.data(), y.data());
    return y.host();
  };
  CHECK_FALSE(some_schedule_differs(expected, [&] { return run(Bug::none); }));
  CHECK(std::isnan(run(Bug::missing_wait)[0]));
  CHECK_THROWS_WITH(run(Bug::unwaited_copy), Contains("never waited for"));
}

TEST_CASE("emulation refuses what a GPU refuses") {
  const auto nothing = [](Dim3 grid, Dim3 block, size_t shared) {
    const Emulated x(1024), y(1024);
    launch({"reverse", grid, block, shared}, reverse, Bug::none, 0, x.data(), y.data());
  };
  CHECK_THROWS_WITH(nothing(1, 1025, 0), Contains("1025 x 1 x 1 threads"));
  CHECK_THROWS_WITH(nothing({1, 65536}, 64, 0), Contains("grid of 1 x 65536 x 1"));
  CHECK_THROWS_WITH(nothing(1, 64, 240 * 1024), Contains("dynamic shared memory"));
  nothing(0, 64, 0);  // nothing to do
}

namespace {
/// y[lane] of scans, votes and shuffles with known results.
__global__ void warp_calls(int* y) {
  const unsigned lane = threadIdx.x % 32;
  int sum = 1;
  for (unsigned step = 1; step < 32; step *= 2) {
    const int below = __shfl_up_sync(kAllLanes, sum, step);
    if (lane >= step) sum += below;
  }
  y[threadIdx.x] = sum;  // lane + 1
  y[64 + threadIdx.x] = __shfl_down_sync(kAllLanes, static_cast<int>(lane), 1, 8);
  y[128 + threadIdx.x] = static_cast<int>(__ballot_sync(kAllLanes, lane % 4 == 0));
  y[192 + threadIdx.x] = __syncthreads_count(threadIdx.x < 40);
}

/// d = a (16 x k) b (k x 8), one warp; as tf32 (k = 8) and bfloat16 (k = 16, through ldmatrix).
__global__ void products(const float* a, const float* b, float* tf32, float* bf16) {
  const unsigned lane = threadIdx.x, g = lane / 4, t = lane % 4;
  float d[4] = {};
  const uint32_t a8[4] = {to_tf32(a[g * 16 + t]), to_tf32(a[(g + 8) * 16 + t]),
                          to_tf32(a[g * 16 + t + 4]), to_tf32(a[(g + 8) * 16 + t + 4])};
  const uint32_t b8[2] = {to_tf32(b[t * 8 + g]), to_tf32(b[(t + 4) * 8 + g])};
  mma_m16n8k8_tf32(d, a8, b8);
  for (unsigned i = 0; i < 4; ++i) tf32[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = d[i];

  FRCNN_SHARED(uint4, rows, [32]);  // a: 16 rows of 16 bfloat16, left and right halves apart
  auto* tile = reinterpret_cast<Bfloat16*>(&rows[0]);
  for (unsigned i = lane; i < 256; i += 32) {
    const unsigned row = i / 16, column = i % 16;
    tile[(column / 8 * 16 + row) * 8 + column % 8] = Bfloat16(a[i]);
  }
  __syncwarp();
  uint32_t a16[4], b16[2];
  load_matrix_x4(a16, &rows[lane]);
  for (unsigned i = 0; i < 2; ++i) {
    const unsigned k = 2 * t + i * 8;
    b16[i] = Bfloat16(b[k * 8 + g]).bits | uint32_t{Bfloat16(b[(k + 1) * 8 + g]).bits} << 16;
  }
  for (float& value : d) value = 0;
  mma_m16n8k16_bf16(d, a16, b16);
  for (unsigned i = 0; i < 4; ++i) bf16[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = d[i];
}
}  // namespace

TEST_CASE("emulation: shuffles, votes and counting barriers") {
  for (const Options& options : kSchedules) {
    const Scope scope(options);
    const DeviceArray<Backend::emulated, int> y(256);
    launch({"warp_calls", 1, 64}, warp_calls, y.data());
    const auto values = y.host();
    for (int i = 0; i < 64; ++i) {
      const int lane = i % 32;
      CHECK(values[static_cast<size_t>(i)] == lane + 1);
      CHECK(values[static_cast<size_t>(64 + i)] == (lane % 8 == 7 ? lane : lane + 1));
      CHECK(static_cast<unsigned>(values[static_cast<size_t>(128 + i)]) == 0x11111111u);
      CHECK(values[static_cast<size_t>(192 + i)] == 40);
    }
  }
}

TEST_CASE("emulation: tensor-core products and ldmatrix follow the PTX layouts") {
  const auto a = random_vector<float>(256, -1, 1, 1), b = random_vector<float>(128, -1, 1, 2);
  std::vector<float> expected8(128), expected16(128);
  for (size_t r = 0; r < 16; ++r)
    for (size_t c = 0; c < 8; ++c) {
      double sum8 = 0, sum16 = 0;
      for (size_t k = 0; k < 16; ++k) {
        const float x = a[r * 16 + k], y = b[k * 8 + c];
        if (k < 8)
          sum8 += double{__uint_as_float(to_tf32(x))} * double{__uint_as_float(to_tf32(y))};
        sum16 += static_cast<double>(static_cast<float>(Bfloat16(x))) *
                 static_cast<double>(static_cast<float>(Bfloat16(y)));
      }
      expected8[r * 8 + c] = static_cast<float>(sum8);
      expected16[r * 8 + c] = static_cast<float>(sum16);
    }
  for (const Options& options : kSchedules) {
    const Scope scope(options);
    const Emulated da(a), db(b), tf32(128), bf16(128);
    launch({"products", 1, 32}, products, da.data(), db.data(), tf32.data(), bf16.data());
    FRCNN_CHECK_SAME(tf32.host(), expected8, 1e-5, 1e-6);
    FRCNN_CHECK_SAME(bf16.host(), expected16, 1e-5, 1e-6);
  }
  // Rounding: halfway cases of tf32 go away from zero, of bfloat16 to even.
  CHECK(__uint_as_float(to_tf32(1.0f + 0x1p-11f)) == 1.0f + 0x1p-10f);
  CHECK(static_cast<float>(Bfloat16(1.0f + 0x1p-8f)) == 1.0f);
  CHECK(static_cast<float>(Bfloat16(1.0f + 3 * 0x1p-8f)) == 1.0f + 0x1p-6f);
  CHECK(std::isnan(static_cast<float>(Bfloat16(std::nanf("")))));
}

}  // namespace frcnn::kernels::gpu

#endif
