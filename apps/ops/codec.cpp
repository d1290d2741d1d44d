#include "apps/ops/codec.h"

namespace frcnn::apps::ops {
namespace {

using namespace kernels;

struct Encode {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n");
    const BoxCodecParams p = codec_params(d);
    const T *anchors = d.input<T>("anchors"), *boxes = d.input<T>("boxes");
    T* deltas = d.output<T>("deltas", {count, 4});
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::encode_boxes(p, count, anchors, boxes, deltas);
      else
        gpu::encode_boxes<Where::backend>(nullptr, p, count, anchors, boxes, deltas);
    });
  }
};

struct Decode {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n");
    const BoxCodecParams p = codec_params(d);
    const T *anchors = d.input<T>("anchors"), *deltas = d.input<T>("deltas");
    T* boxes = d.output<T>("boxes", {count, 4});
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::decode_boxes(p, count, anchors, deltas, 4, boxes);
      else
        gpu::decode_boxes<Where::backend>(nullptr, p, count, anchors, deltas, 4, boxes);
    });
    const T* dboxes = d.gradient<T>("boxes");
    if (dboxes == nullptr) return;
    T* ddeltas = d.output<T>("d_deltas", {count, 4});
    d.pass("backward", [=] {
      if constexpr (Where::cpu)
        cpu::decode_boxes_backward(p, count, anchors, deltas, dboxes, ddeltas);
      else
        gpu::decode_boxes_backward<Where::backend>(nullptr, p, count, anchors, deltas, dboxes,
                                                   ddeltas);
    });
  }
};

struct Clip {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n");
    T* boxes = d.updated<T>("clipped", "boxes");
    if constexpr (Where::cpu) {
      const double height = d.number("height"), width = d.number("width");
      d.pass("forward", [=] { cpu::clip_boxes(count, height, width, boxes); });
    } else {
      ImageLimits<T> image;
      image.height = static_cast<T>(d.number("height"));
      image.width = static_cast<T>(d.number("width"));
      const auto* limits = d.constant(std::vector<ImageLimits<T>>{image});
      d.pass("forward", [=] { gpu::clip_boxes<Where::backend>(nullptr, 1, count, limits, boxes); });
    }
  }
};

struct LargeEnough {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n");
    const T* boxes = d.input<T>("boxes");
    auto* keep = d.output<uint8_t>("keep", {count});
    if constexpr (Where::cpu) {
      const double min_h = d.number("min_h"), min_w = d.number("min_w");
      d.pass("forward", [=] { cpu::boxes_large_enough(count, min_h, min_w, boxes, keep); });
    } else {
      ImageLimits<T> image;
      image.min_h = static_cast<T>(d.number("min_h"));
      image.min_w = static_cast<T>(d.number("min_w"));
      const auto* limits = d.constant(std::vector<ImageLimits<T>>{image});
      d.pass("forward", [=] {
        gpu::boxes_large_enough<Where::backend>(nullptr, 1, count, limits, boxes, keep);
      });
    }
  }
};

/// Boxes with sides of at least 1.
Array solid_boxes(Random& r, int64_t count) {
  return r.scattered_boxes(count, r.uniform(20, 600), r.uniform(20, 1000));
}

void add_codes(Operations& list) {
  Operation encode = of_boxes("encode_boxes", "boxes relative to anchors: targets of regression",
                              {"encode_boxes"}, [](Random& r, int64_t count) {
                                Case c;
                                c.arrays["anchors"] = solid_boxes(r, count);
                                c.arrays["boxes"] = solid_boxes(r, count);
                                c.params = random_codec(r);
                                return c;
                              });
  encode.inputs = {array_doc("anchors", Type::f32, "(n, 4)", "x1, y1, x2, y2"),
                   array_doc("boxes", Type::f32, "(n, 4)", "what they should become")};
  encode.outputs = {array_doc("deltas", Type::f32, "(n, 4)", "tx, ty, tw, th")};
  encode.params = codec_parameters();
  encode.prepare = on_all_devices<Encode, float, double>();
  encode.tolerance = rounding(16, kExpReason, 64);
  list.push_back(encode);

  Operation decode =
      of_boxes("decode_boxes", "anchors moved and scaled by deltas",
               {"decode_boxes", "decode_boxes_backward"}, [](Random& r, int64_t count) {
                 Case c;
                 c.arrays["anchors"] = solid_boxes(r, count);
                 c.arrays["deltas"] = r.floats({count, 4}, -2, 6);
                 c.arrays["d_boxes"] = r.floats({count, 4}, -1, 1);
                 c.params = random_codec(r);
                 return c;
               });
  decode.inputs = {array_doc("anchors", Type::f32, "(n, 4)", "x1, y1, x2, y2"),
                   array_doc("deltas", Type::f32, "(n, 4)", "tx, ty, tw, th")};
  decode.outputs = {with_gradient(array_doc("boxes", Type::f32, "(n, 4)", "x1, y1, x2, y2"))};
  decode.params = codec_parameters();
  decode.prepare = on_all_devices<Decode, float, double>();
  decode.tolerance = rounding(16, kExpReason, 16 * 65536);  // corners of boxes up to 62.5 x 1000
  list.push_back(decode);
}

void add_filters(Operations& list) {
  Operation clip =
      of_boxes("clip_boxes", "corners moved into the image, in place", {"clip_boxes"},
               [](Random& r, int64_t count) {
                 Case c;
                 c.arrays["boxes"] = r.boxes(count, 60, 100);
                 sprinkle_specials(r, c.arrays["boxes"]);
                 c.params = {{"height", r.uniform(20, 60)}, {"width", r.uniform(30, 100)}};
                 return c;
               });
  clip.inputs = {array_doc("boxes", Type::f32, "(n, 4)", "x1, y1, x2, y2")};
  clip.outputs = {array_doc("clipped", Type::f32, "(n, 4)", "x1, y1, x2, y2")};
  const auto sizes = size_parameters();
  clip.params = {sizes[0], sizes[1]};
  clip.prepare = on_all_devices<Clip, float, double>();
  list.push_back(clip);

  Operation large = of_boxes("boxes_large_enough", "which boxes have sides of a least length",
                             {"boxes_large_enough"}, [](Random& r, int64_t count) {
                               Case c;
                               c.arrays["boxes"] = r.boxes(count, 60, 100);
                               sprinkle_specials(r, c.arrays["boxes"]);
                               c.params = {{"min_h", r.uniform(2, 20)}, {"min_w", 16.0}};
                               return c;
                             });
  large.inputs = {array_doc("boxes", Type::f32, "(n, 4)", "x1, y1, x2, y2")};
  large.outputs = {array_doc("keep", Type::u8, "(n)", "1 or 0")};
  large.params = {sizes[2], sizes[3]};
  large.prepare = on_all_devices<LargeEnough, float, double>();
  list.push_back(large);
}

}  // namespace

void add_codec(Operations& list) {
  add_codes(list);
  add_filters(list);
  add_batch_codec(list);
}

}  // namespace frcnn::apps::ops
