// The operations of imported networks on a GPU (under emulation where there is none) against the
// engine on the CPU, float32, with all gradients.
#include "engine/ops/conv2d.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/pooling.h"
#include "tests/engine/device_agreement.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

using Inputs = std::vector<Tensor>;

}  // namespace

TEST_CASE("device: convolutions with groups and dilation agree") {
  const auto agree = [](const Conv2dOptions& options, const Shape& x, const Shape& w) {
    INFO(w.string() << " groups " << options.groups);
    check_devices_agree([&](const Inputs& in) { return conv2d(in[0], in[1], in[2], options); },
                        {random_tensor(x, 1), random_tensor(w, 2), random_tensor({w[0]}, 3)});
  };
  agree({1, 1, 1, 1, 24, 1, 1, false}, {2, 24, 9, 7}, {24, 1, 3, 3});
  agree({2, 2, 1, 1, 24, 1, 1, false}, {1, 24, 9, 8}, {24, 1, 3, 3});
  agree({1, 1, 2, 2, 6, 2, 2, false}, {1, 6, 9, 8}, {6, 1, 3, 3});
  agree({1, 2, 1, 0, 4, 1, 1, false}, {1, 16, 6, 7}, {32, 4, 3, 3});
  agree({1, 1, 2, 2, 1, 2, 2, false}, {1, 5, 8, 9}, {7, 5, 3, 3});
}

TEST_CASE("device: average pooling, activations, broadcasting, concat and pad agree") {
  const Inputs map = {random_tensor({2, 20, 7, 6}, 1)};
  check_devices_agree(
      [](const Inputs& in) {
        return avg_pool2d(in[0], {3, 3, 2, 2, 1, 1, true, false});
      },
      map);
  check_devices_agree([](const Inputs& in) { return global_avg_pool2d(in[0]); }, map);
  // In the layout that a GPU's convolutions give.
  check_devices_agree([](const Inputs& in) { return global_avg_pool2d(convert_block(in[0], 20)); },
                      map);
  check_devices_agree([](const Inputs& in) { return leaky_relu(in[0], 0.1); }, map, 0, 0);
  check_devices_agree([](const Inputs& in) { return leaky_relu(in[0], -0.5); }, map, 0, 0);
  check_devices_agree([](const Inputs& in) { return clip(in[0], 0.2, 0.8); }, map, 0, 0);
  check_devices_agree([](const Inputs& in) { return sigmoid(convert_block(in[0], 16)); }, map);
  for (const auto op : {add, sub, mul})
    for (const Shape& s : {Shape{2, 20, 7, 6}, Shape{1, 20, 1, 1}, Shape{1}, Shape{2, 20, 1, 1}})
      for (const int64_t block : {1, 20})
        check_devices_agree(
            [&](const Inputs& in) { return op(convert_block(in[0], block), in[1]); },
            {map[0], random_tensor(s, 2)});
  check_devices_agree(
      [](const Inputs& in) {
        return concat_channels({in[0], convert_block(in[1], 8), in[0]});
      },
      {map[0], random_tensor({2, 8, 7, 6}, 3)}, 1e-6, 1e-6);
  check_devices_agree([](const Inputs& in) { return pad2d(in[0], 1, 2, 3, 0, -1.5); }, map, 0, 0);
}

TEST_CASE("concat_channels keeps NHWC on a GPU and the first map's blocks on the CPU") {
  const auto block_of = [](Device device, const std::vector<int64_t>& blocks) {
    Inputs maps;
    for (const int64_t block : blocks)
      maps.push_back(Tensor::zeros({1, 16, 2, 2}, DType::f32, device, block));
    return concat_channels(maps).channel_block();
  };
  CHECK(block_of({}, {1, 1}) == 1);
  CHECK(block_of({}, {16, 16}) == 16);
  CHECK(block_of({}, {8, 16}) == 8);
  for (const Device device : gpus()) CHECK(block_of(device, {16, 16}) == 32);
}

TEST_CASE("operations of imported networks refuse what does not fit together") {
  const Tensor map = Tensor::zeros({2, 5, 3, 4});
  CHECK_THROWS_WITH(
      add(map, Tensor::zeros({4})),
      mentions("[add] expected a second tensor of shape (2, 5, 3, 4), of one element"));
  CHECK_THROWS_WITH(mul(map, Tensor::zeros({2, 1, 3, 4})), mentions("[mul]"));
  CHECK_THROWS_WITH(sub(map, Tensor::zeros({2, 5, 3, 4}, DType::f64)), mentions("one type"));
  CHECK_THROWS_WITH(concat_channels({}), mentions("at least one map"));
  CHECK_THROWS_WITH(concat_channels({map, Tensor::zeros({2, 5, 3, 5})}),
                    mentions("differ in their channels only"));
  CHECK_THROWS_WITH(pad2d(map, 0, -1, 0, 0), mentions("no negative padding"));
  CHECK_THROWS_WITH(global_avg_pool2d(Tensor::zeros({1, 2, 0, 3})), mentions("with cells"));
  Conv2dOptions options;
  options.groups = 2;
  CHECK_THROWS_WITH(conv2d(map, Tensor::zeros({4, 5, 3, 3}), {}, options),
                    mentions("weight (O, C / groups, kh, kw)"));
  CHECK(conv2d(Tensor::zeros({0, 4, 3, 3}), Tensor::zeros({4, 2, 3, 3}), {}, options).shape() ==
        Shape{0, 4, 1, 1});
}
