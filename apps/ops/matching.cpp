#include "apps/ops/definitions.h"
#include "kernels/boxes/iou_match.h"

namespace frcnn::apps::ops {
namespace {

using namespace kernels;
constexpr const char* kHeader = "kernels/boxes/iou_match.h";

struct IouMatch {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n"), objects = d.letter("m");
    const MatchParams p{d.number("positive"), d.number("negative"), d.flag("match_best")};
    const T *boxes = d.input<T>("boxes"), *truth = d.input<T>("truth");
    const auto* skip = d.input<uint8_t>("skip");
    T* best = d.output<T>("best_iou", {count});
    auto* index = d.output<int32_t>("best_index", {count});
    T* object_best = d.output<T>("object_best", {objects});
    auto* labels = d.output<int32_t>("labels", {count});
    if constexpr (Where::cpu) {
      d.pass("overlaps",
             [=] { cpu::iou_best(count, objects, boxes, truth, skip, best, index, object_best); });
      d.pass("labels", [=] {
        cpu::match_labels(p, count, objects, boxes, truth, skip, best, object_best, labels);
      });
    } else {
      constexpr Backend B = Where::backend;
      MatchBatch batch;
      batch.count = count;
      batch.objects = objects;
      const auto version = d.version<MatchVersion>();
      d.pass("overlaps", [=] {
        gpu::iou_best<B>(nullptr, batch, boxes, truth, skip, best, index, object_best, version);
      });
      d.pass("labels", [=] {
        gpu::match_labels<B>(nullptr, p, batch, boxes, truth, skip, best, object_best, labels,
                             version);
      });
    }
  }
};

struct RegionLabels {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t images = d.letter("N"), count = d.letter("n");
    const RegionLabelParams p{d.number("foreground"), d.number("background_high"),
                              d.number("background_low")};
    const T* best = d.input<T>("best_iou");
    const auto* objects = d.input<int32_t>("object_counts");
    auto* labels = d.output<int32_t>("labels", {images, count});
    if constexpr (Where::cpu) {
      d.pass("forward", [=] {
        for (int64_t i = 0; i < images * count; ++i) {
          const auto iou = static_cast<double>(best[i]);
          const bool background = iou >= p.background_low && iou < p.background_high;
          labels[i] = iou >= p.foreground && objects[i / count] > 0 ? 1 : background ? 0 : -1;
        }
      });
    } else {
      MatchBatch batch;
      batch.images = images;
      batch.count = count;
      batch.objects = 1;
      batch.object_counts = objects;
      d.pass("forward",
             [=] { gpu::region_labels<Where::backend>(nullptr, p, batch, best, labels); });
    }
  }
};

Case match_case(Random& r, int64_t count, int64_t objects, bool scattered) {
  Case c;
  c.arrays["boxes"] = scattered ? r.scattered_boxes(count, 600, 1000) : r.boxes(count, 60, 100);
  c.arrays["truth"] = scattered ? r.scattered_boxes(objects, 600, 1000) : r.boxes(objects, 60, 100);
  return c;
}

}  // namespace

void add_matching(Operations& list) {
  Operation match =
      describe("iou_match", "boxes", "overlaps of boxes with objects, and the labels that follow",
               kHeader, {"iou_best", "match_labels"});
  match.inputs = {array_doc("boxes", Type::f32, "(n, 4)", "anchors or proposals"),
                  array_doc("truth", Type::f32, "(m, 4)", "objects"),
                  optional(array_doc("skip", Type::u8, "(n)", "1: the box takes no part"))};
  match.outputs = {array_doc("best_iou", Type::f32, "(n)", "highest overlap; -1 if skipped"),
                   array_doc("best_index", Type::i32, "(n)", "with this object; -1 without"),
                   array_doc("object_best", Type::f32, "(m)", "highest overlap of each object"),
                   array_doc("labels", Type::i32, "(n)", "1 object, 0 background, -1 neither")};
  match.params = {number("positive", 0.7, "least overlap of label 1"),
                  number("negative", 0.3, "label 0 below this"),
                  flag("match_best", true, "each object's best boxes are positive, too")};
  match.ladders = {ladder("kMatchVersions", kMatchVersions, "tiled")};
  match.prepare = on_all_devices<IouMatch, float, double>();
  match.random_case = [](Random& r) {
    Case c = match_case(r, r.size(700, true), r.size(80, true), false);
    if (r.chance(0.3)) sprinkle_specials(r, c.arrays["boxes"]);
    if (r.chance(0.5)) c.arrays["skip"] = r.flags({c.arrays["boxes"].extent()[0]}, 0.3);
    c.params = {{"match_best", r.chance(0.7)},
                {"positive", r.pick<double>({0.7, 0.5})},
                {"negative", r.pick<double>({0.3, 0.5})}};
    return c;
  };
  match.flops = [](const Case& c, const std::string&) {
    return 14.0 * static_cast<double>(c.arrays.at("boxes").extent()[0]) *
           static_cast<double>(c.arrays.at("truth").extent()[0]);
  };
  match.bench = [](const std::string& shapes) {
    std::vector<BenchCase> cases;
    const bool small = shapes == "small";
    const std::vector<int64_t> objects = {2, 8, 50};
    for (const int64_t m : objects)
      cases.push_back({fmt::format("{} anchors, {} objects", small ? 1000 : 20646, m), [=] {
                         Random r(1);
                         return match_case(r, small ? 1000 : 20646, m, true);
                       }});
    return cases;
  };
  list.push_back(match);

  Operation region = describe("region_labels", "boxes", "labels of proposals by best overlap",
                              kHeader, {"region_labels"});
  region.inputs = {array_doc("best_iou", Type::f32, "(N, n)", "from iou_match"),
                   array_doc("object_counts", Type::i32, "(N)", "objects of each image")};
  region.outputs = {array_doc("labels", Type::i32, "(N, n)", "1, 0 or -1")};
  region.params = {number("foreground", 0.5, "least overlap of label 1"),
                   number("background_high", 0.5, "label 0 is below this"),
                   number("background_low", 0.1, "and not below this")};
  region.prepare = on_all_devices<RegionLabels, float, double>();
  region.random_case = [](Random& r) {
    Case c;
    const int64_t images = r.between(1, 3), count = r.size(700, true);
    c.arrays["best_iou"] = r.coarse({images, count}, -1, 1);
    c.arrays["object_counts"] = r.integers({images}, 0, 2);
    c.params["background_low"] = r.pick<double>({0.1, 0, 0.125});
    return c;
  };
  region.bench = [](const std::string& shapes) {
    const int64_t count = shapes == "small" ? 100 : 2000;
    return std::vector<BenchCase>{{fmt::format("{} proposals", count), [=] {
                                     Random r(1);
                                     Case c;
                                     c.arrays["best_iou"] = r.floats({2, count}, 0, 1);
                                     c.arrays["object_counts"] = r.integers({2}, 1, 2);
                                     return c;
                                   }}};
  };
  list.push_back(region);
}

}  // namespace frcnn::apps::ops
