// Recording and replaying sequences of launches.
#include "kernels/elementwise/elementwise.h"
#include "kernels/launch/check.h"
#include "tests/gpu/gpu_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;
using Catch::Matchers::Contains;

TEST_CASE("GPU graph: recording does nothing, each replay does the work with present memory") {
  for_backends([](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const gpu::Stream stream = gpu::create_stream<B>();
    const DeviceArray<B, float> x(std::vector<float>{1, 2, 3}), y(std::vector<float>{0, 0, 0});
    const DeviceArray<B, float> copy(3);
    gpu::synchronize<B>(nullptr);
    const int64_t before = gpu::activity<B>().launches, replayed = gpu::activity<B>().replayed;
    const gpu::Graph<B> graph(stream, [&] {
      gpu::axpy<B>(stream, 3, 2.0, x.data(), y.data());
      gpu::relu_forward<B>(stream, 3, y.data(), y.data());
      gpu::copy_on_device<B>(stream, copy.data(), y.data(), 3 * sizeof(float));
    });
    CHECK(gpu::activity<B>().launches == before);
    CHECK(y.host() == std::vector<float>{0, 0, 0});
    graph.replay(stream);
    graph.replay(stream);
    gpu::synchronize<B>(stream);
    CHECK(gpu::activity<B>().launches == before + 4);
    CHECK(gpu::activity<B>().replayed == replayed + 4);
    CHECK(copy.host() == std::vector<float>{4, 8, 12});
    const std::vector<float> other = {-10, 0, 1};
    gpu::copy_to_device<B>(stream, x.data(), other.data(), sizeof(float) * 3);
    graph.replay(stream);
    gpu::synchronize<B>(stream);
    CHECK(copy.host() == std::vector<float>{0, 8, 14});
    gpu::destroy_stream<B>(stream);
  });
}

TEST_CASE("GPU graph: whatever waits for the device is refused while recording") {
  for_backends([](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const gpu::Stream stream = gpu::create_stream<B>();
    const DeviceArray<B, float> x(std::vector<float>{1, 2, 3});
    std::vector<float> host(3);
    CHECK_THROWS_AS(
        gpu::Graph<B>(stream, [&] { gpu::copy_to_host<B>(stream, host.data(), x.data(), 12); }),
        Error);
    CHECK_THROWS_AS(gpu::Graph<B>(stream, [&] { gpu::synchronize<B>(stream); }), Error);
    // The stream is usable afterwards.
    const gpu::Graph<B> graph(stream, [&] { gpu::scale<B>(stream, 3, 2.0, x.data(), x.data()); });
    graph.replay(stream);
    gpu::synchronize<B>(stream);
    CHECK(x.host() == std::vector<float>{2, 4, 6});
    gpu::destroy_stream<B>(stream);
  });
}
