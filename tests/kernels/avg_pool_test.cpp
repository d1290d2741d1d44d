#include "kernels/pooling/avg_pool.h"

#include <limits>

#include "kernels/launch/check.h"
#include "tests/kernels/map_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

AvgPoolParams golden_params(const std::string& group) {
  const auto value = [&](const char* name) {
    return static_cast<int64_t>(golden_attribute("graph_ops", group, name));
  };
  return {value("kernel_h"),       value("kernel_w"),
          value("stride_h"),       value("stride_w"),
          value("pad_h"),          value("pad_w"),
          value("ceil_mode") != 0, value("count_include_pad") != 0};
}

}  // namespace

TEMPLATE_TEST_CASE("average pooling equals torch, forward and backward, in every layout", "", float,
                   double) {
  for (const std::string& name : golden_members("graph_ops", "avg_pool")) {
    const std::string group = "avg_pool/" + name;
    const auto x = golden_f64("graph_ops", group + "/x"), y = golden_f64("graph_ops", group + "/y");
    const auto dy = golden_f64("graph_ops", group + "/dy");
    const auto dx = golden_f64("graph_ops", group + "/dx");
    const AvgPoolParams params = golden_params(group);
    for (const MapLayout& layout : layouts_of(x.shape)) {
      INFO(group << " block " << layout.block);
      const MapLayout out = avg_pool_layout(layout, params);
      REQUIRE(std::vector<int64_t>{out.n, out.c, out.h, out.w} == y.shape);
      OutputMap<TestType> result(out), gradient(layout);
      cpu::avg_pool_forward(layout, params, blocked<TestType>(layout, x.values).data(),
                            result.data());
      FRCNN_CHECK_SAME(result.result(), y.values, tolerance<TestType>(), tolerance<TestType>());
      cpu::avg_pool_backward(layout, params, blocked<TestType>(out, dy.values).data(),
                             gradient.data());
      FRCNN_CHECK_SAME(gradient.result(), dx.values, tolerance<TestType>(), tolerance<TestType>());
    }
  }
}

TEMPLATE_TEST_CASE("global average pooling equals torch in every layout", "", float, double) {
  for (const std::string& name : golden_members("graph_ops", "global_avg_pool")) {
    const std::string group = "global_avg_pool/" + name;
    const auto x = golden_f64("graph_ops", group + "/x"), y = golden_f64("graph_ops", group + "/y");
    const auto dy = golden_f64("graph_ops", group + "/dy");
    const auto dx = golden_f64("graph_ops", group + "/dx");
    for (const MapLayout& layout : layouts_of(x.shape)) {
      INFO(group << " block " << layout.block);
      const MapLayout out = layout.resized(1, 1);
      OutputMap<TestType> result(out), gradient(layout);
      cpu::global_avg_pool_forward(layout, blocked<TestType>(layout, x.values).data(),
                                   result.data());
      FRCNN_CHECK_SAME(result.result(), y.values, tolerance<TestType>(), tolerance<TestType>());
      cpu::global_avg_pool_backward(layout, blocked<TestType>(out, dy.values).data(),
                                    gradient.data());
      FRCNN_CHECK_SAME(gradient.result(), dx.values, tolerance<TestType>(), tolerance<TestType>());
    }
  }
}

TEST_CASE("average pooling passes NaN on to the windows that hold it and to no other") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> x = {1, 3, nan, 2, 4, 8};  // 1 x 6
  std::vector<float> y(3);
  cpu::avg_pool_forward({1, 1, 1, 6, 1}, {1, 2, 1, 2, 0, 0, false, false}, x.data(), y.data());
  CHECK(y[0] == 2);
  CHECK(std::isnan(y[1]));
  CHECK(y[2] == 6);
  float mean = 0;
  cpu::global_avg_pool_forward({1, 1, 1, 6, 1}, x.data(), &mean);
  CHECK(std::isnan(mean));
}

TEST_CASE("average pooling: no images, any number of threads, refusals") {
  const AvgPoolParams params;
  GuardedBuffer<float> nothing(0);
  cpu::avg_pool_forward<float>({0, 3, 4, 4, 1}, params, nothing.data(), nothing.data());
  cpu::avg_pool_backward<float>({0, 3, 4, 4, 1}, params, nothing.data(), nothing.data());
  cpu::global_avg_pool_forward<float>({0, 3, 4, 4, 3}, nothing.data(), nothing.data());
  cpu::global_avg_pool_backward<float>({0, 3, 4, 4, 3}, nothing.data(), nothing.data());
  CHECK(nothing.guards_intact());

  const MapLayout map{2, 37, 41, 43, 16};
  const auto x = blocked<float>(
      map, random_vector<double>(static_cast<size_t>(map.n * map.c * map.h * map.w), -1, 1, 3));
  check_thread_independent([&] {
    const AvgPoolParams p{3, 3, 2, 2, 1, 1, true, false};
    std::vector<float> y(static_cast<size_t>(avg_pool_layout(map, p).size())), dx(x.size());
    std::vector<float> mean(static_cast<size_t>(map.resized(1, 1).size()));
    cpu::avg_pool_forward(map, p, x.data(), y.data());
    cpu::avg_pool_backward(map, p, y.data(), dx.data());
    cpu::global_avg_pool_forward(map, x.data(), mean.data());
    y.insert(y.end(), dx.begin(), dx.end());
    y.insert(y.end(), mean.begin(), mean.end());
    return y;
  });

  const auto layout = [](int64_t h, const AvgPoolParams& p) {
    avg_pool_layout({1, 1, h, h, 1}, p);
  };
  CHECK_THROWS_WITH(layout(4, {0, 2, 2, 2, 0, 0}), mentions("positive kernel and stride"));
  CHECK_THROWS_WITH(layout(4, {2, 2, 2, 2, 2, 0}), mentions("padding smaller than the kernel 2x2"));
  CHECK_THROWS_WITH(layout(4, {6, 6, 1, 1, 0, 0}), mentions("6x6 kernel does not fit a 4x4 map"));
  float y = 0;
  CHECK_THROWS_WITH(cpu::global_avg_pool_forward<float>({1, 1, 0, 5, 1}, &y, &y),
                    mentions("0 x 5 has no cells"));
}

TEST_CASE("average pooling: a window that begins in the end padding is dropped in ceil_mode") {
  // 5 cells, kernel 2, stride 3, padding 1: windows begin at -1, 2 and, in the end padding, at 5.
  AvgPoolParams p{1, 2, 1, 3, 0, 1, true, true};
  CHECK(avg_pool_layout({1, 1, 1, 5, 1}, p).w == 2);
  // 6 cells: the third begins in the last cell and has one more of padding.
  const MapLayout map{1, 1, 1, 6, 1};
  REQUIRE(avg_pool_layout(map, p).w == 3);
  const std::vector<float> x = {6, 12, 3, 6, 9, 4};
  std::vector<float> y(3);
  cpu::avg_pool_forward(map, p, x.data(), y.data());
  CHECK(y == std::vector<float>{3, 4.5f, 2});
  p.count_include_pad = false;
  cpu::avg_pool_forward(map, p, x.data(), y.data());
  CHECK(y == std::vector<float>{6, 4.5f, 4});
}
