// Rows chosen, joined and copied on the device.
#include "kernels/boxes/rows.h"
#include "tests/gpu/gpu_support.h"

using namespace frcnn::kernels;
using namespace frcnn::test;

TEST_CASE("GPU rows: objectness, gather with missing rows, remainders") {
  for_backends([](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const DeviceArray<B, float> logits(std::vector<float>{1, 3, -2, 5, 0.5f, 0.25f}), two(3),
        one(6);
    gpu::objectness<B>(nullptr, 3, 2, logits.data(), two.data());
    gpu::objectness<B>(nullptr, 6, 1, logits.data(), one.data());
    CHECK(two.host() == std::vector<float>{2, 7, -0.25f});
    CHECK(one.host() == logits.host());

    const DeviceArray<B, int32_t> indices(std::vector<int32_t>{2, -1, 0});
    const DeviceArray<B, float> rows(std::vector<float>{1, 2, 3, 4, 5, 6}), out(6);
    gpu::gather_rows<B>(nullptr, 3, 2, -9.0f, indices.data(), rows.data(), out.data());
    CHECK(out.host() == std::vector<float>{5, 6, -9, -9, 1, 2});
    gpu::gather_rows<B>(nullptr, 0, 2, -9.0f, indices.data(), rows.data(), out.data());  // nothing

    const DeviceArray<B, int32_t> flat(std::vector<int32_t>{0, 19, 20, -1, 45}), groups(5);
    gpu::remainders<B>(nullptr, 5, 20, flat.data(), groups.data());
    CHECK(groups.host() == std::vector<int32_t>{0, 19, 0, -1, 5});
  });
}

TEST_CASE("GPU rows: lists of several images are joined; counts beyond the room are cut") {
  for_backends([](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const DeviceArray<B, double> first(std::vector<double>{1, 2, 3, 4, 5, 6}),
        second(std::vector<double>{10, 20, 30, 40});
    const DeviceArray<B, int32_t> a(std::vector<int32_t>{1, 7}), b(std::vector<int32_t>{2, 0});
    const DeviceArray<B, double> out(10);
    const DeviceArray<B, int32_t> counts(2);
    gpu::append_rows<B>(nullptr, 2, 1, 3, first.data(), a.data(), 2, second.data(), b.data(),
                        out.data(), counts.data());
    CHECK(out.host() == std::vector<double>{1, 10, 20, 0, 0, 4, 5, 6, 0, 0});
    CHECK(counts.host() == std::vector<int32_t>{3, 3});
  });
}

TEST_CASE("GPU rows: RoIs beyond an image's number name no image") {
  for_backends([](auto on) {
    constexpr Backend B = decltype(on)::backend;
    const DeviceArray<B, float> boxes(
        std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}),
        rois(20);
    const DeviceArray<B, int32_t> counts(std::vector<int32_t>{1, 2});
    gpu::make_rois<B>(nullptr, 2, 2, boxes.data(), counts.data(), nullptr, rois.data());
    CHECK(rois.host() ==
          std::vector<float>{0, 1, 2, 3, 4, -1, 0, 0, 0, 0, 1, 9, 10, 11, 12, 1, 13, 14, 15, 16});
    const DeviceArray<B, int32_t> indices(std::vector<int32_t>{-1, 4, 0, -1});
    gpu::make_rois<B>(nullptr, 2, 2, boxes.data(), nullptr, indices.data(), rois.data());
    CHECK(rois.host() ==
          std::vector<float>{-1, 0, 0, 0, 0, 0, 5, 6, 7, 8, 1, 9, 10, 11, 12, -1, 0, 0, 0, 0});
  });
}
