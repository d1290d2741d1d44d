#include "kernels/elementwise/reorder_map.h"
#include "kernels/image/resize.h"
#include "kernels/launch/check.h"
#include "tests/gpu/map_gpu_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

TEMPLATE_TEST_CASE("GPU reorder_map: between all layouts", "[reorder]", float, double) {
  using T = TestType;
  for (const MapLayout& shape : {MapLayout{2, 37, 5, 9, 1}, MapLayout{1, 16, 33, 2, 1},
                                 MapLayout{3, 3, 1, 1, 1}, MapLayout{0, 5, 4, 4, 1}})
    for (const MapLayout& from : layouts_of(shape)) {
      auto x = random_map<T>(from, -1, 1, 1);
      // The padding of x is not read.
      std::vector<bool> inside(x.size());
      for_elements(from, [&](size_t at, size_t) { inside[at] = true; });
      for (size_t i = 0; i < x.size(); ++i)
        if (!inside[i]) x[i] = std::numeric_limits<T>::quiet_NaN();
      for (const MapLayout& to : layouts_of(shape)) {
        std::vector<T> y(static_cast<size_t>(to.size()));
        cpu::reorder_map(from, to.block, x.data(), y.data());
        for_backends([&](auto on) {
          constexpr Backend B = decltype(on)::backend;
          const DeviceArray<B, T> gx(x), gy(y.size());
          for (const auto version : {ReorderMapVersion::naive, ReorderMapVersion::tile}) {
            INFO("block " << from.block << " to " << to.block << ", "
                          << kReorderMapVersions[static_cast<int>(version)].name);
            gpu::reorder_map<B>(nullptr, from, to.block, gx.data(), gy.data(), version);
            FRCNN_CHECK_SAME(gy.host(), y, 0, 0);
          }
        });
      }
    }
}

TEMPLATE_TEST_CASE("GPU resize and normalise equal the CPU's", "[resize]", float, double) {
  using T = TestType;
  struct Sizes {
    int64_t in_h, in_w, out_h, out_w;
  };
  for (const Sizes& s : {Sizes{7, 9, 13, 11}, Sizes{20, 31, 9, 8}, Sizes{1, 1, 3, 5},
                         Sizes{6, 5, 1, 1}, Sizes{8, 8, 16, 16}}) {
    std::vector<uint8_t> image(static_cast<size_t>(3 * s.in_h * s.in_w));
    const auto random = random_vector<double>(image.size(), 0, 256, 4);
    for (size_t i = 0; i < image.size(); ++i) image[i] = static_cast<uint8_t>(random[i]);
    for (int option = 0; option < 8; ++option) {
      ResizeParams p;
      p.in_h = s.in_h, p.in_w = s.in_w, p.out_h = s.out_h, p.out_w = s.out_w;
      p.flip = (option & 1) != 0;
      p.interleaved = (option & 2) != 0;
      if ((option & 4) != 0) {
        p.padded_h = s.out_h + 3, p.padded_w = s.out_w + 2;
        p.order = ChannelOrder::bgr;
        p.scale = 1.0 / 255, p.mean = {0.485, 0.456, 0.406}, p.std = {0.229, 0.224, 0.225};
      }
      const int64_t height = p.padded_h != 0 ? p.padded_h : p.out_h;
      const int64_t width = p.padded_w != 0 ? p.padded_w : p.out_w;
      std::vector<T> expected(static_cast<size_t>(3 * height * width));
      cpu::resize_normalize(p, image.data(), expected.data());
      // Weights are the same; up to four products and five sums of them are rounded, of values up
      // to 255 before normalisation and 255 scale / std or mean / std after it.
      const double epsilon = std::numeric_limits<T>::epsilon() / 2;
      const double most = (option & 4) != 0 ? 1 / 0.224 + 0.485 / 0.229 : 255;
      for_backends([&](auto on) {
        constexpr Backend B = decltype(on)::backend;
        const DeviceArray<B, uint8_t> in(image);
        const DeviceArray<B, T> out(expected.size());
        for (const auto version : {ResizeVersion::naive, ResizeVersion::pixel}) {
          INFO(s.in_h << "x" << s.in_w << " to " << s.out_h << "x" << s.out_w << ", option "
                      << option << ", " << kResizeVersions[static_cast<int>(version)].name);
          gpu::resize_normalize<B>(nullptr, p, in.data(), out.data(), version);
          FRCNN_CHECK_SAME(out.host(), expected, 0, 2 * 9 * epsilon * most);
        }
      });
    }
  }
  for (const std::string& name : golden_members("image", "resize")) {
    const std::string group = "resize/" + name;
    const auto image = golden_i64("image", group + "/image");
    const auto y = golden_f64("image", group + "/y");
    const auto single = golden_f32("image", group + "/y_f32");
    ResizeParams params;
    params.in_h = image.shape[0], params.in_w = image.shape[1];
    params.out_h = y.shape[1], params.out_w = y.shape[2];
    for_backends([&](auto on) {
      constexpr Backend B = decltype(on)::backend;
      INFO(group);
      const DeviceArray<B, uint8_t> in(
          std::vector<uint8_t>(image.values.begin(), image.values.end()));
      const DeviceArray<B, T> out(y.values.size());
      gpu::resize_normalize<B>(nullptr, params, in.data(), out.data());
      FRCNN_CHECK_SAME(out.values(), sizeof(T) == 8 ? y.values : cast_to_double(single.values), 0,
                       255 * tolerance<T>());
    });
  }
  for_backends([&](auto on) {
    constexpr Backend B = decltype(on)::backend;
    CHECK_THROWS_AS((gpu::resize_normalize<B, T>(nullptr, {}, nullptr, nullptr)), Error);
  });
}
