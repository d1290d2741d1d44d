#include <algorithm>

#include "apps/ops/codec.h"
#include "kernels/boxes/proposal_decode.h"
#include "kernels/boxes/roi_targets.h"

namespace frcnn::apps::ops {
namespace {

using namespace kernels;

struct DecodeProposals {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t images = d.letter("N"), count = d.letter("n");
    const BoxCodecParams p = codec_params(d);
    const ImageLimits<T> image = limits_of<T>(d);
    const T *anchors = d.input<T>("anchors"), *deltas = d.input<T>("deltas");
    T* boxes = d.output<T>("boxes", {images, count, 4});
    auto* keep = d.output<uint8_t>("keep", {images, count});
    if constexpr (Where::cpu) {
      d.pass("forward", [=] {
        for (int64_t i = 0; i < images; ++i) {
          T* out = boxes + i * count * 4;
          cpu::decode_boxes(p, count, anchors, deltas + i * count * 4, 4, out);
          cpu::clip_boxes(count, static_cast<double>(image.height),
                          static_cast<double>(image.width), out);
          cpu::boxes_large_enough(count, static_cast<double>(image.min_h),
                                  static_cast<double>(image.min_w), out, keep + i * count);
        }
      });
    } else {
      const auto* limits =
          d.constant(std::vector<ImageLimits<T>>(static_cast<size_t>(images), image));
      const auto version = d.version<DecodeVersion>();
      d.pass("forward", [=] {
        gpu::decode_proposals<Where::backend>(nullptr, p, images, count, anchors, deltas, limits,
                                              boxes, keep, version);
      });
    }
  }
};

struct DecodeDetections {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t rois = d.letter("R"), classes = d.integer("K"), groups = d.integer("groups");
    check(groups == 1 || groups == classes + 1, "[decode_detections] groups must be 1 or K + 1");
    const BoxCodecParams p = codec_params(d);
    const double score = d.number("score");
    const ImageLimits<T> image = limits_of<T>(d);
    const std::vector<double> given = d.array("rois").as<double>();
    for (size_t i = 0; i < given.size(); i += 5)
      check(given[i] < 1, "[decode_detections] rois: row {} names image {}, there is one", i / 5,
            given[i]);
    const T *rows = d.input<T>("rois"), *deltas = d.input<T>("deltas");
    const T* probabilities = d.input<T>("probabilities");
    T* boxes = d.output<T>("boxes", {rois, classes, 4});
    T* scores = d.output<T>("scores", {rois, classes});
    auto* keep = d.output<uint8_t>("keep", {rois, classes});
    if constexpr (Where::cpu) {
      d.pass("forward", [=] {
        for (int64_t r = 0; r < rois; ++r)
          for (int64_t k = 0; k < classes; ++k) {
            const int64_t at = r * classes + k, group = groups == 1 ? 0 : k + 1;
            T* box = boxes + 4 * at;
            scores[at] = 0;
            keep[at] = 0;
            std::fill(box, box + 4, T(0));
            if (!(rows[5 * r] >= 0)) continue;
            scores[at] = probabilities[r * (classes + 1) + k + 1];
            cpu::decode_boxes(p, 1, rows + 5 * r + 1, deltas + 4 * (r * groups + group), 4, box);
            cpu::clip_boxes(1, static_cast<double>(image.height), static_cast<double>(image.width),
                            box);
            cpu::boxes_large_enough(1, static_cast<double>(image.min_h),
                                    static_cast<double>(image.min_w), box, keep + at);
            if (!(static_cast<double>(scores[at]) > score)) keep[at] = 0;
          }
      });
    } else {
      const auto* limits = d.constant(std::vector<ImageLimits<T>>{image});
      d.pass("forward", [=] {
        gpu::decode_detections<Where::backend>(nullptr, p, rois, classes, groups, score, rows,
                                               deltas, probabilities, limits, boxes, scores, keep);
      });
    }
  }
};

struct EncodeMatched {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t images = d.letter("N"), count = d.letter("n"), objects = d.letter("m");
    const BoxCodecParams p = codec_params(d);
    const std::vector<int32_t> matched = d.array("index").as<int32_t>();
    for (const int32_t object : matched)
      check(object >= 0 && object < objects, "[encode_matched] index: there is no object {} of {}",
            object, objects);
    const T *boxes = d.input<T>("boxes"), *truth = d.input<T>("truth");
    const auto *labels = d.input<int32_t>("labels"), *index = d.input<int32_t>("index");
    const auto* classes = d.input<int32_t>("classes");
    T* deltas = d.output<T>("deltas", {images, count, 4});
    auto* targets = d.output<int32_t>("target_labels", {images, count});
    if constexpr (Where::cpu) {
      d.pass("forward", [=] {
        for (int64_t i = 0; i < images * count; ++i) {
          const int64_t object = i / count * objects + index[i];
          std::fill(deltas + 4 * i, deltas + 4 * i + 4, T(0));
          targets[i] = labels[i] > 0 ? classes[object] + 1 : labels[i];
          if (labels[i] > 0)
            cpu::encode_boxes(p, 1, boxes + 4 * i, truth + 4 * object, deltas + 4 * i);
        }
      });
    } else {
      d.pass("forward", [=] {
        gpu::encode_matched<Where::backend>(nullptr, p, images, count, objects, false, boxes, truth,
                                            labels, index, deltas, classes, targets);
      });
    }
  }
};

struct ProposalDecode {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t images = d.letter("N"), count = d.letter("n"), rows = d.letter("R");
    const auto* limits =
        d.constant(std::vector<ImageLimits<T>>(static_cast<size_t>(images), limits_of<T>(d)));
    const T *anchors = d.input<T>("anchors"), *deltas = d.input<T>("deltas");
    const T* constants = d.input<T>("constants");
    const auto* sources = d.input<int32_t>("sources");
    T* rois = d.output<T>("rois", {rows, 5});
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::proposal_decode(images, count, rows, anchors, deltas, limits, sources, constants,
                             rois);
      else
        gpu::proposal_decode<Where::backend>(nullptr, images, count, rows, anchors, deltas, limits,
                                             sources, constants, rois);
    });
    const T* drois = d.gradient<T>("rois");
    if (drois == nullptr) return;
    T* ddeltas = d.output<T>("d_deltas", {images, count, 4});
    d.pass("backward", [=] {
      if constexpr (Where::cpu)
        cpu::proposal_decode_backward(images, count, rows, anchors, deltas, limits, sources, drois,
                                      ddeltas);
      else
        gpu::proposal_decode_backward<Where::backend>(nullptr, images, count, rows, anchors, deltas,
                                                      limits, sources, drois, ddeltas);
    });
  }
};

struct RoiTargets {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t rows = d.letter("R"), groups = d.letter("G") / 4;
    const BoxCodecParams p = codec_params(d);
    const T *rois = d.input<T>("rois"), *targets = d.input<T>("targets");
    const T* ddeltas = d.input<T>("d_deltas");
    T* drois = d.output<T>("d_rois", {rows, 5});
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        cpu::roi_targets_backward(p, rows, groups, rois, targets, ddeltas, drois);
      else
        gpu::roi_targets_backward<Where::backend>(nullptr, p, rows, groups, rois, targets, ddeltas,
                                                  drois);
    });
  }
};

Array reshaped(const Array& array, Extent extent) {
  return Array::of(std::move(extent), array.as<float>());
}

}  // namespace

void add_batch_codec(Operations& list) {
  Operation proposals =
      of_boxes("decode_proposals", "decode, clip and size filter of all anchors of a batch",
               {"decode_proposals"}, [](Random& r, int64_t count) {
                 Case c;
                 const int64_t images = r.between(1, 2);
                 c.arrays["anchors"] = r.scattered_boxes(count, 600, 1000);
                 c.arrays["deltas"] = r.floats({images, count, 4}, -1, 1);
                 c.params = random_codec(r);
                 return c;
               });
  proposals.inputs = {array_doc("anchors", Type::f32, "(n, 4)", "the same for all images"),
                      array_doc("deltas", Type::f32, "(N, n, 4)", "tx, ty, tw, th")};
  proposals.outputs = {array_doc("boxes", Type::f32, "(N, n, 4)", "x1, y1, x2, y2, clipped"),
                       array_doc("keep", Type::u8, "(N, n)", "1 where large enough")};
  proposals.params = joined(codec_parameters(), size_parameters());
  proposals.ladders = {ladder("kDecodeVersions", kDecodeVersions, "fused")};
  proposals.prepare = on_all_devices<DecodeProposals, float, double>();
  proposals.tolerance = rounding(16, kExpReason, 16 * 4096);
  list.push_back(proposals);

  Operation sampled = of_boxes(
      "proposal_decode", "RoIs from the deltas of their anchors, with the way back for gradients",
      {"proposal_decode", "proposal_decode_backward"}, [](Random& r, int64_t count) {
        Case c;
        const int64_t images = r.between(1, 2);
        std::vector<int32_t> sources;  // no anchor twice, in no order
        for (int64_t i = 0; i < images * count; ++i)
          if (r.chance(0.1)) sources.push_back(r.chance(0.2) ? -1 : static_cast<int32_t>(i));
        if (r.chance(0.5)) std::reverse(sources.begin(), sources.end());
        const auto rows = static_cast<int64_t>(sources.size());
        c.arrays["anchors"] = r.scattered_boxes(count, 600, 1000);
        c.arrays["deltas"] = r.floats({images, count, 4}, -1, 1);
        c.arrays["sources"] = Array::of({rows}, sources);
        c.arrays["constants"] = r.rois(rows, images, 600, 1000);
        c.arrays["d_rois"] = r.floats({rows, 5}, -1, 1);
        return c;
      });
  sampled.header = "kernels/boxes/proposal_decode.h";
  sampled.inputs = {array_doc("anchors", Type::f32, "(n, 4)", "the same for all images"),
                    array_doc("deltas", Type::f32, "(N, n, 4)", "tx, ty, tw, th"),
                    array_doc("sources", Type::i32, "(R)", "image n + anchor, no two alike, or -1"),
                    array_doc("constants", Type::f32, "(R, 5)", "RoIs where the source is -1")};
  sampled.outputs = {
      with_gradient(array_doc("rois", Type::f32, "(R, 5)", "image number, x1, y1, x2, y2"))};
  sampled.params = size_parameters();
  sampled.prepare = on_all_devices<ProposalDecode, float, double>();
  sampled.tolerance = rounding(64, kExpReason, 16 * 4096);
  list.push_back(sampled);

  Operation followed = of_boxes("roi_targets_backward",
                                "a box loss's gradient by RoIs that take their targets along",
                                {"roi_targets_backward"}, [](Random& r, int64_t count) {
                                  Case c;
                                  const int64_t groups = r.between(1, 4);
                                  c.arrays["rois"] = r.rois(count, 1, 600, 1000);
                                  c.arrays["targets"] = r.floats({count, 4}, -1, 1);
                                  c.arrays["d_deltas"] = r.floats({count, 4 * groups}, -1, 1);
                                  return c;
                                });
  followed.header = "kernels/boxes/roi_targets.h";
  followed.inputs = {array_doc("rois", Type::f32, "(R, 5)", "image number, x1, y1, x2, y2"),
                     array_doc("targets", Type::f32, "(R, 4)", "encoded objects"),
                     array_doc("d_deltas", Type::f32, "(R, G)", "G = 4 groups of columns")};
  followed.outputs = {array_doc("d_rois", Type::f32, "(R, 5)", "0, by x1, y1, x2, y2")};
  followed.params = codec_parameters();
  followed.prepare = on_all_devices<RoiTargets, float, double>();
  followed.tolerance = rounding(64, "sums of few terms", 64);
  list.push_back(followed);

  Operation detections =
      of_boxes("decode_detections", "the box of every class of every RoI, clipped, with its score",
               {"decode_detections"}, [](Random& r, int64_t count) {
                 Case c;
                 const int64_t rois = count / 4, classes = r.between(1, 5);
                 const int64_t groups = r.chance(0.3) ? 1 : classes + 1;
                 std::vector<float> rows;
                 const std::vector<float> boxes = r.scattered_boxes(rois, 600, 1000).as<float>();
                 for (size_t i = 0; i < boxes.size(); i += 4) {
                   rows.push_back(r.chance(0.1) ? -1.0f : 0.0f);
                   rows.insert(rows.end(), boxes.begin() + static_cast<long>(i),
                               boxes.begin() + static_cast<long>(i) + 4);
                 }
                 c.arrays["rois"] = Array::of({rois, 5}, rows);
                 c.arrays["deltas"] = r.floats({rois, 4 * groups}, -1, 1);
                 c.arrays["probabilities"] = r.coarse({rois, classes + 1}, 0, 1);
                 c.params = random_codec(r);
                 c.params["K"] = classes;
                 c.params["groups"] = groups;
                 c.params["score"] = r.pick<double>({0.05, 0.5, 0.125});
                 return c;
               });
  detections.inputs = {
      array_doc("rois", Type::f32, "(R, 5)", "image number (negative: unused), x1, y1, x2, y2"),
      array_doc("deltas", Type::f32, "(R, 4*groups)", "tx, ty, tw, th per group"),
      array_doc("probabilities", Type::f32, "(R, K + 1)", "class 0 is background")};
  detections.outputs = {array_doc("boxes", Type::f32, "(R, K, 4)", "0 for unused RoIs"),
                        array_doc("scores", Type::f32, "(R, K)", "probabilities of the classes"),
                        array_doc("keep", Type::u8, "(R, K)", "score above the limit, box large")};
  detections.params = joined(codec_parameters(), size_parameters());
  detections.params.push_back(integer("K", 1, "classes, background not counted"));
  detections.params.push_back(integer("groups", 1, "sets of deltas: K + 1, or 1 for all classes"));
  detections.params.push_back(number("score", 0.05, "limit of scores"));
  detections.prepare = on_all_devices<DecodeDetections, float, double>();
  detections.tolerance = rounding(16, kExpReason, 16 * 4096);
  list.push_back(detections);

  Operation matched =
      of_boxes("encode_matched", "regression targets and classes of boxes that matched objects",
               {"encode_matched"}, [](Random& r, int64_t count) {
                 Case c;
                 const int64_t images = r.between(1, 2), objects = r.between(1, 9);
                 c.arrays["boxes"] =
                     reshaped(r.scattered_boxes(images * count, 600, 1000), {images, count, 4});
                 c.arrays["truth"] =
                     reshaped(r.scattered_boxes(images * objects, 600, 1000), {images, objects, 4});
                 c.arrays["labels"] = r.integers({images, count}, -1, 1);
                 c.arrays["index"] = r.integers({images, count}, 0, objects - 1);
                 c.arrays["classes"] = r.integers({images, objects}, 0, 19);
                 c.params = random_codec(r);
                 return c;
               });
  matched.inputs = {array_doc("boxes", Type::f32, "(N, n, 4)", "x1, y1, x2, y2"),
                    array_doc("truth", Type::f32, "(N, m, 4)", "objects"),
                    array_doc("labels", Type::i32, "(N, n)", "above 0: has an object"),
                    array_doc("index", Type::i32, "(N, n)", "of the object"),
                    array_doc("classes", Type::i32, "(N, m)", "of the objects")};
  matched.outputs = {array_doc("deltas", Type::f32, "(N, n, 4)", "0 without an object"),
                     array_doc("target_labels", Type::i32, "(N, n)", "class + 1, or the label")};
  matched.params = codec_parameters();
  matched.prepare = on_all_devices<EncodeMatched, float, double>();
  matched.tolerance = rounding(16, kExpReason, 64);
  list.push_back(matched);
}

}  // namespace frcnn::apps::ops
