// Broadcasting over maps, and copies of their parts.
#include <limits>

#include "kernels/elementwise/broadcast.h"
#include "kernels/elementwise/copy_map.h"
#include "tests/kernels/map_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

template <typename T>
std::vector<T> narrow(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

constexpr BinaryOp kOps[] = {BinaryOp::add, BinaryOp::subtract, BinaryOp::multiply};
constexpr const char* kNames[] = {"add", "sub", "mul"};
constexpr Spread kSpreads[] = {Spread::whole, Spread::channel, Spread::plane};

}  // namespace

TEMPLATE_TEST_CASE("broadcasting equals torch in every layout, forward and backward", "", float,
                   double) {
  using T = TestType;
  for (size_t op = 0; op < 3; ++op)
    for (size_t spread = 0; spread < 3; ++spread) {
      const std::string group =
          std::string("broadcast/") + kNames[op] + "_" + std::to_string(spread) + "/";
      const auto a = golden_f64("graph_ops", group + "a"), b = golden_f64("graph_ops", group + "b");
      const auto y = golden_f64("graph_ops", group + "y"),
                 dy = golden_f64("graph_ops", group + "dy");
      const auto da = golden_f64("graph_ops", group + "da");
      const auto db = golden_f64("graph_ops", group + "db");
      for (const MapLayout& map : layouts_of(a.shape)) {
        INFO(group << " block " << map.block);
        const auto factor = narrow<T>(b.values);
        const auto input = blocked<T>(map, a.values), cotangent = blocked<T>(map, dy.values);
        OutputMap<T> result(map), gradient(map);
        cpu::broadcast_forward(map, kOps[op], kSpreads[spread], input.data(), factor.data(),
                               result.data());
        FRCNN_CHECK_SAME(result.result(), y.values, tolerance<T>(), tolerance<T>());
        GuardedBuffer<T> sums(b.values.size());
        GuardedBuffer<double> workspace(static_cast<size_t>(broadcast_workspace(map)));
        const bool multiply = kOps[op] == BinaryOp::multiply;
        cpu::broadcast_backward(map, kOps[op], kSpreads[spread], cotangent.data(),
                                multiply ? input.data() : nullptr, sums.data(), workspace.data());
        FRCNN_CHECK_SAME(values_of(sums), db.values, tolerance<T>(), tolerance<T>());
        CHECK((sums.guards_intact() && workspace.guards_intact()));
        if (!multiply) continue;
        cpu::broadcast_forward(map, BinaryOp::multiply, kSpreads[spread], cotangent.data(),
                               factor.data(), gradient.data());
        FRCNN_CHECK_SAME(gradient.result(), da.values, tolerance<T>(), tolerance<T>());
      }
    }
}

TEST_CASE("broadcasting keeps padding zero beside infinities and NaN, takes no images and 1x1") {
  const float inf = std::numeric_limits<float>::infinity();
  const MapLayout map{1, 3, 1, 1, 8};
  const std::vector<float> a = {1, 2, 3, 0, 0, 0, 0, 0}, b = {inf, inf, inf};
  for (const BinaryOp op : kOps)
    for (const Spread spread : kSpreads) {
      OutputMap<float> y(map);
      cpu::broadcast_forward(map, op, spread, a.data(), b.data(), y.data());
      const float first = op == BinaryOp::subtract ? -inf : inf;
      CHECK(y.result() == std::vector<double>(3, static_cast<double>(first)));
    }
  const MapLayout nothing{0, 3, 2, 2, 3};
  std::vector<float> db(3, 9.0f);
  cpu::broadcast_forward<float>(nothing, BinaryOp::add, Spread::channel, nullptr, b.data(),
                                nullptr);
  cpu::broadcast_backward<float>(nothing, BinaryOp::add, Spread::channel, nullptr, nullptr,
                                 db.data(), nullptr);
  CHECK(db == std::vector<float>{0, 0, 0});
}

TEST_CASE("broadcasting's sums have the same bits with any number of threads") {
  const MapLayout map{3, 70, 31, 33, 70};
  const auto size = static_cast<size_t>(map.size());
  const auto dy = random_vector<float>(size, -1, 1, 1), a = random_vector<float>(size, -1, 1, 2);
  check_thread_independent([&] {
    std::vector<float> db(70);
    std::vector<double> workspace(static_cast<size_t>(broadcast_workspace(map)));
    cpu::broadcast_backward(map, BinaryOp::multiply, Spread::channel, dy.data(), a.data(),
                            db.data(), workspace.data());
    return db;
  });
}

TEMPLATE_TEST_CASE("concatenated channels equal torch between all layouts", "", float, double) {
  using T = TestType;
  const auto y = golden_f64("graph_ops", "concat/0/y");
  for (const MapLayout& to : layouts_of(y.shape))
    for (const int64_t block : {1, 0, 8, 16}) {  // 0: NHWC
      INFO("to block " << to.block << " from " << block);
      OutputMap<T> result(to);
      int64_t first = 0;
      for (int i = 0; i < 3; ++i) {
        const auto x = golden_f64("graph_ops", "concat/0/x" + std::to_string(i));
        const MapLayout from{x.shape[0], x.shape[1], x.shape[2], x.shape[3],
                             block == 0 ? x.shape[1] : block};
        cpu::copy_channels(from, to, {0, first, from.c}, blocked<T>(from, x.values).data(),
                           result.data());
        // and back
        OutputMap<T> again(from);
        cpu::copy_channels(to, from, {first, 0, from.c}, blocked<T>(to, y.values).data(),
                           again.data());
        CHECK(again.result() == x.values);
        first += from.c;
      }
      CHECK(result.result() == y.values);
    }
}

TEMPLATE_TEST_CASE("padding a map equals torch in every layout, and a crop is its gradient", "",
                   float, double) {
  using T = TestType;
  const auto value = [](const char* name) { return golden_attribute("graph_ops", "pad/0", name); };
  const MapPadding padding{static_cast<int64_t>(value("top")), static_cast<int64_t>(value("left")),
                           static_cast<int64_t>(value("bottom")),
                           static_cast<int64_t>(value("right"))};
  const auto x = golden_f64("graph_ops", "pad/0/x"), y = golden_f64("graph_ops", "pad/0/y");
  const auto dy = golden_f64("graph_ops", "pad/0/dy"), dx = golden_f64("graph_ops", "pad/0/dx");
  for (const MapLayout& map : layouts_of(x.shape)) {
    const MapLayout out = padding.padded(map);
    OutputMap<T> result(out), gradient(map);
    cpu::pad_map(map, padding, value("value"), blocked<T>(map, x.values).data(), result.data());
    CHECK(result.result() == y.values);
    cpu::crop_map(map, padding, blocked<T>(out, dy.values).data(), gradient.data());
    CHECK(gradient.result() == dx.values);
  }
  cpu::pad_map<T>({0, 2, 3, 3, 1}, padding, 1, nullptr, nullptr);
  // A map without cells becomes one of padding alone.
  OutputMap<T> border({1, 3, 2, 2, 8});
  cpu::pad_map<T>({1, 3, 0, 0, 8}, {1, 1, 1, 1}, 5, nullptr, border.data());
  CHECK(border.result() == std::vector<double>(12, 5.0));
}
