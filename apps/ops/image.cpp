#include "apps/ops/definitions.h"
#include "kernels/image/resize.h"

namespace frcnn::apps::ops {
namespace {

using namespace kernels;

struct Resize {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    ResizeParams p;
    p.in_h = d.letter("h"), p.in_w = d.letter("w");
    p.out_h = d.integer("out_h"), p.out_w = d.integer("out_w");
    p.padded_h = d.integer("padded_h"), p.padded_w = d.integer("padded_w");
    p.flip = d.flag("flip");
    p.interleaved = d.flag("interleaved");
    p.order = enum_of<ChannelOrder>(d, "order");
    p.scale = d.number("scale");
    const auto &mean = d.list("mean"), &std = d.list("std");
    check(mean.size() == 3 && std.size() == 3, "[resize] mean and std must have 3 numbers");
    std::copy(mean.begin(), mean.end(), p.mean.begin());
    std::copy(std.begin(), std.end(), p.std.begin());
    const int64_t h = p.padded_h > 0 ? p.padded_h : p.out_h;
    const int64_t w = p.padded_w > 0 ? p.padded_w : p.out_w;
    const auto* image = d.input<uint8_t>("image");
    T* out = d.output<T>("out", p.interleaved ? Extent{h, w, 3} : Extent{3, h, w});
    const auto version = d.version<ResizeVersion>();
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::resize_normalize(p, image, out);
      else
        gpu::resize_normalize<Where::backend>(nullptr, p, image, out, version);
    });
  }
};

void prepare_bytes(Desk& d) {
  const int64_t h = d.letter("h"), w = d.letter("w");
  const int64_t out_h = d.integer("out_h"), out_w = d.integer("out_w");
  const auto* image = d.input<uint8_t>("image");
  auto* out = d.output<uint8_t>("out", {out_h, out_w, 3});
  d.pass("forward", [=] { cpu::resize_u8(h, w, out_h, out_w, image, out); });
}

Case picture(Random& r, int64_t h, int64_t w, int64_t out_h, int64_t out_w) {
  Case c;
  Array image(Type::u8, {h, w, 3});
  image.set(r.floats({h * w * 3}, 0, 256).as<uint8_t>());
  c.arrays["image"] = image;
  c.params = {{"out_h", out_h}, {"out_w", out_w}};
  return c;
}

std::vector<BenchCase> picture_bench(const std::string& shapes) {
  const bool small = shapes == "small";
  return {{small ? "40x50 to 60x75" : "375x500 to 600x800", [=] {
             Random r(1);
             return small ? picture(r, 40, 50, 60, 75) : picture(r, 375, 500, 600, 800);
           }}};
}

Case random_picture(Random& r) {
  return picture(r, r.size(40), r.size(40), r.size(60), r.size(60));
}

}  // namespace

void add_image(Operations& list) {
  const ArrayDoc image = array_doc("image", Type::u8, "(h, w, 3)", "R, G, B");
  Operation resize = describe("resize", "image", "bilinear resize and normalisation of a picture",
                              "kernels/image/resize.h", {"resize_normalize"});
  resize.inputs = {image};
  resize.outputs = {array_doc("out", Type::f32, "(3, padded_h, padded_w)",
                              "or (padded_h, padded_w, 3) if interleaved")};
  resize.params = {integer("out_h", 1, "height of the picture"),
                   integer("out_w", 1, "width of the picture"),
                   integer("padded_h", 0, "height of the array; 0: out_h"),
                   integer("padded_w", 0, "width of the array; 0: out_w"),
                   flag("flip", false, "mirror left and right"),
                   flag("interleaved", false, "channels last"),
                   word("order", "rgb", "of the output's channels", {"rgb", "bgr"}),
                   number("scale", 1, "of values 0 to 255"),
                   numbers("mean", {0, 0, 0}, "subtracted then"),
                   numbers("std", {1, 1, 1}, "divides at last")};
  resize.ladders = {ladder("kResizeVersions", kResizeVersions, "pixel")};
  resize.prepare = on_all_devices<Resize, float, double>();
  resize.tolerance = rounding(8, "sums of products, fused or not", 8 * 256);
  resize.random_case = [](Random& r) {
    Case c = random_picture(r);
    if (r.chance(0.5)) c.params["padded_h"] = std::get<int64_t>(c.params["out_h"]) + r.below(9);
    c.params["flip"] = r.chance(0.5);
    c.params["interleaved"] = r.chance(0.5);
    c.params["order"] = r.word({"rgb", "bgr"});
    return c;
  };
  resize.bench = picture_bench;
  list.push_back(resize);

  Operation bytes = describe("resize_bytes", "image", "bilinear resize of a picture to look at",
                             "kernels/image/resize.h", {"resize_u8"});
  bytes.inputs = {image};
  bytes.outputs = {array_doc("out", Type::u8, "(out_h, out_w, 3)", "R, G, B")};
  bytes.params = {integer("out_h", 1, "height"), integer("out_w", 1, "width")};
  bytes.types = {};
  bytes.on_gpu = false;
  bytes.prepare = [](Desk& d) {
    check(d.device() == Device::cpu, "[resize_bytes] runs on the CPU only");
    prepare_bytes(d);
  };
  bytes.random_case = random_picture;
  bytes.bench = picture_bench;
  list.push_back(bytes);
}

}  // namespace frcnn::apps::ops
