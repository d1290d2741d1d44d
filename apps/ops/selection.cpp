#include <numeric>

#include "apps/ops/definitions.h"
#include "kernels/boxes/nms.h"
#include "kernels/boxes/sample.h"
#include "kernels/boxes/topk.h"

namespace frcnn::apps::ops {
namespace {

using namespace kernels;

/// The offsets of the segments, or of one that holds all `count` entries.
std::vector<int64_t> segment_offsets(const Desk& d, int64_t count) {
  if (!d.has("offsets")) return {0, count};
  const std::vector<int64_t> offsets = d.array("offsets").as<int64_t>();
  check(offsets.size() >= 2 && offsets.front() == 0 && offsets.back() == count,
        "[{}] offsets must begin with 0 and end with {}", d.op().name, count);
  for (size_t i = 1; i < offsets.size(); ++i)
    check(offsets[i] >= offsets[i - 1], "[{}] offsets must not fall, found {} after {}",
          d.op().name, offsets[i], offsets[i - 1]);
  return offsets;
}

Segments segments_of(Desk& d, const std::vector<int64_t>& offsets) {
  Segments s;
  s.count = static_cast<int64_t>(offsets.size()) - 1;
  for (size_t i = 1; i < offsets.size(); ++i)
    s.capacity = std::max(s.capacity, offsets[i] - offsets[i - 1]);
  s.offsets = d.constant(offsets);
  return s;
}

struct TopK {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n"), k = d.integer("k");
    check(k >= 0, "[top_k] k must not be negative, found {}", k);
    const std::vector<int64_t> offsets = segment_offsets(d, count);
    const auto segments = static_cast<int64_t>(offsets.size()) - 1;
    const T* scores = d.input<T>("scores");
    const auto* keep = d.input<uint8_t>("keep");
    if constexpr (Where::cpu) {
      auto* indices = d.output<int64_t>("indices", {segments, k});
      auto* counts = d.output<int64_t>("counts", {segments});
      if (!d.has("offsets")) {
        d.pass("forward", [=] {
          std::fill(indices, indices + k, int64_t{-1});
          *counts = cpu::top_k(count, k, scores, keep, indices);
        });
      } else {
        const int64_t* starts = d.constant(offsets);
        d.pass("forward",
               [=] { cpu::top_k_segments(segments, k, starts, scores, keep, indices, counts); });
      }
    } else {
      const Segments s = segments_of(d, offsets);
      auto* indices = d.output<int32_t>("indices", {segments, k});
      auto* counts = d.output<int32_t>("counts", {segments});
      const auto version = d.version<TopKVersion>();
      void* workspace = d.scratch(gpu::top_k_workspace<Where::backend, T>(s, k, version));
      d.pass("forward", [=] {
        gpu::top_k_segments<Where::backend>(nullptr, s, k, scores, keep, indices, counts, workspace,
                                            version);
      });
    }
    d.finish([](Arrays& results) {
      for (const char* name : {"indices", "counts"})
        results[name] = Array::of(Extent(results[name].extent()), results[name].as<int64_t>());
    });
  }
};

struct Nms {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n"), max_keep = d.integer("max_keep");
    const double threshold = d.number("threshold");
    check(max_keep >= 0, "[nms] max_keep must not be negative, found {}", max_keep);
    const std::vector<int64_t> offsets = segment_offsets(d, count);
    const auto segments = static_cast<int64_t>(offsets.size()) - 1;
    const T* boxes = d.input<T>("boxes");
    const auto* groups = d.input<int32_t>("groups");
    auto* kept = d.output<int32_t>("kept", {segments, max_keep});
    auto* counts = d.output<int32_t>("counts", {segments});
    if constexpr (Where::cpu) {
      const T* scores = d.input<T>("scores");
      d.pass("forward", [=] {
        std::vector<int64_t> found(static_cast<size_t>(std::min(count, max_keep)));
        std::fill(kept, kept + segments * max_keep, -1);
        for (int64_t s = 0; s < segments; ++s) {
          const int64_t first = offsets[static_cast<size_t>(s)];
          const int64_t size = offsets[static_cast<size_t>(s) + 1] - first;
          const int32_t* of_group = groups != nullptr ? groups + first : nullptr;
          const int64_t left = scores != nullptr
                                   ? cpu::nms(size, threshold, max_keep, boxes + 4 * first,
                                              scores + first, of_group, found.data())
                                   : cpu::nms_sorted(size, threshold, max_keep, boxes + 4 * first,
                                                     of_group, found.data());
          counts[s] = static_cast<int32_t>(left);
          for (int64_t i = 0; i < left; ++i)
            kept[s * max_keep + i] = static_cast<int32_t>(first + found[static_cast<size_t>(i)]);
        }
      });
    } else {
      check(!d.has("scores"), "[nms] scores: on a GPU boxes must come sorted (see top_k)");
      const Segments s = segments_of(d, offsets);
      const auto version = d.version<NmsVersion>();
      void* workspace = d.scratch(gpu::nms_workspace<Where::backend>(s, version));
      d.pass("forward", [=] {
        gpu::nms_sorted<Where::backend, T>(nullptr, s, threshold, max_keep, boxes, groups, nullptr,
                                           kept, counts, workspace, version);
      });
    }
  }
};

struct SampleLabels {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n");
    const SampleParams p{d.integer("batch"), d.integer("max_positive")};
    const RandomKey key{static_cast<uint64_t>(d.integer("seed")),
                        static_cast<uint32_t>(d.integer("stream")),
                        static_cast<uint64_t>(d.integer("step"))};
    const auto* given = d.input<int32_t>("labels");
    auto* labels = d.output<int32_t>("sampled", {count});
    const size_t bytes = static_cast<size_t>(count) * sizeof(int32_t);
    if constexpr (Where::cpu) {
      auto* counts = d.output<int32_t>("counts", {2});
      d.pass("forward", [=] {
        std::copy(given, given + count, labels);
        const SampleCounts chosen = cpu::sample_labels(p, key, count, labels);
        counts[0] = static_cast<int32_t>(chosen.positive);
        counts[1] = static_cast<int32_t>(chosen.negative);
      });
    } else {
      Segments s;
      s.capacity = count;
      auto* counts = d.output<int32_t>("counts", {2});
      const auto version = d.version<SampleVersion>();
      void* workspace = d.scratch(gpu::sample_workspace<Where::backend>(s, version));
      d.pass("forward", [=] {
        gpu::copy_on_device<Where::backend>(nullptr, labels, given, bytes);
        gpu::sample_labels<Where::backend>(nullptr, p, key, s, labels, counts, nullptr, workspace,
                                           nullptr, version);
      });
    }
  }
};

/// Some rising offsets that end at `count`, empty segments among them.
Array random_offsets(Random& r, int64_t count) {
  std::vector<int64_t> offsets = {0, count};
  for (int64_t i = r.between(0, 3); i > 0; --i) offsets.push_back(r.between(0, count));
  std::sort(offsets.begin(), offsets.end());
  return Array::of({static_cast<int64_t>(offsets.size())}, offsets);
}

ArrayDoc offsets_doc() {
  return optional(array_doc("offsets", Type::i64, "(S + 1)",
                            "segment s is offsets[s] .. offsets[s + 1] - 1; absent: all is one"));
}

Operation top_k() {
  Operation op = describe("top_k", "boxes", "indices of the highest scores, best first",
                          "kernels/boxes/topk.h", {"top_k", "top_k_segments"});
  op.inputs = {array_doc("scores", Type::f32, "(n)", "NaN comes last"),
               optional(array_doc("keep", Type::u8, "(n)", "0: left out")), offsets_doc()};
  op.outputs = {array_doc("indices", Type::i64, "(S, k)", "in the whole array; -1 behind the last"),
                array_doc("counts", Type::i64, "(S)", "how many were found")};
  op.params = {integer("k", 1, "most per segment")};
  op.ladders = {ladder("kTopKVersions", kTopKVersions, "grid")};
  op.prepare = on_all_devices<TopK, float, double>();
  op.random_case = [](Random& r) {
    Case c;
    const int64_t count = r.size(1500, true);
    c.arrays["scores"] = r.chance(0.5) ? r.coarse({count}, -1, 1) : r.floats({count}, 0, 1);
    if (r.chance(0.3)) sprinkle_specials(r, c.arrays["scores"]);
    if (r.chance(0.5)) c.arrays["keep"] = r.flags({count}, 0.7);
    if (r.chance(0.5)) c.arrays["offsets"] = random_offsets(r, count);
    c.params["k"] = r.size(400, true);
    return c;
  };
  op.bench = [](const std::string& shapes) {
    std::vector<BenchCase> cases;
    const auto add = [&](int64_t count, int64_t k) {
      cases.push_back({fmt::format("{} of {}", k, count), [=] {
                         Random r(1);
                         Case c;
                         c.arrays["scores"] = r.floats({count}, 0, 1);
                         c.params["k"] = k;
                         return c;
                       }});
    };
    if (shapes == "small") {
      add(2000, 300);
    } else {
      add(20646, 6000);
      add(20646, 12000);
      add(200000, 2000);
    }
    return cases;
  };
  return op;
}

Operation nms() {
  Operation op = describe("nms", "boxes", "greedy non-maximum suppression", "kernels/boxes/nms.h",
                          {"nms_sorted", "nms"});
  op.inputs = {array_doc("boxes", Type::f32, "(n, 4)", "best first, unless scores are given"),
               optional(array_doc("scores", Type::f32, "(n)", "CPU only: boxes in any order")),
               optional(array_doc("groups", Type::i32, "(n)",
                                  "only boxes of one group suppress each other")),
               offsets_doc()};
  op.outputs = {array_doc("kept", Type::i32, "(S, max_keep)",
                          "positions in the whole array; -1 behind the last"),
                array_doc("counts", Type::i32, "(S)", "how many were kept")};
  op.params = {number("threshold", 0.7, "a higher overlap with a kept box suppresses"),
               integer("max_keep", 2000, "most per segment")};
  op.ladders = {ladder("kNmsVersions", kNmsVersions, "windows")};
  op.prepare = on_all_devices<Nms, float, double>();
  op.random_case = [](Random& r) {
    Case c;
    const int64_t count = r.size(300, true);
    c.arrays["boxes"] = r.boxes(count, 60, 100);
    if (r.chance(0.3)) sprinkle_specials(r, c.arrays["boxes"]);
    if (r.chance(0.4)) c.arrays["groups"] = r.integers({count}, 0, 2);
    if (r.chance(0.4)) c.arrays["offsets"] = random_offsets(r, count);
    c.params["threshold"] = r.pick<double>({0.3, 0.5, 0.7, 0});
    c.params["max_keep"] = r.chance(0.3) ? r.between(1, 20) : int64_t{400};
    return c;
  };
  // No op.flops: how many pairs are looked at depends on the boxes.
  op.bench = [](const std::string& shapes) {
    std::vector<BenchCase> cases;
    const std::vector<int64_t> counts =
        shapes == "small" ? std::vector<int64_t>{500} : std::vector<int64_t>{6000, 12000, 100000};
    for (const int64_t count : counts)
      cases.push_back({fmt::format("{} boxes", count), [=] {
                         Random r(1);
                         Case c;
                         c.arrays["boxes"] = r.scattered_boxes(count, 600, 1000);
                         c.params["max_keep"] = count;  // to the end, as torchvision's
                         return c;
                       }});
    return cases;
  };
  return op;
}

Operation sample_labels() {
  Operation op = describe("sample_labels", "boxes", "a random sample of positives and negatives",
                          "kernels/boxes/sample.h", {"sample_labels"});
  op.inputs = {array_doc("labels", Type::i32, "(n)", "above 0, 0, or -1")};
  op.outputs = {array_doc("sampled", Type::i32, "(n)", "-1 for what was not chosen"),
                array_doc("counts", Type::i32, "(2)", "chosen above 0, chosen of label 0")};
  op.params = {integer("batch", 256, "entries to choose"),
               integer("max_positive", 128, "most of them above 0"),
               integer("seed", 1, "of the random numbers"),
               integer("stream", kStreamAnchorSample, "which of the seed's sequences"),
               integer("step", 0, "of training")};
  op.types = {};
  op.ladders = {ladder("kSampleVersions", kSampleVersions, "radix")};
  op.prepare = [](Desk& d) {
    on_device(d.device(), [&](auto where) { SampleLabels::prepare<decltype(where), int32_t>(d); });
  };
  op.random_case = [](Random& r) {
    Case c;
    const int64_t count = r.size(1500, true);
    c.arrays["labels"] = r.integers({count}, r.between(-1, 0), r.between(0, 3));
    c.params = {{"batch", r.between(0, 256)},
                {"max_positive", r.between(0, 128)},
                {"seed", r.below(1000)},
                {"step", r.below(1000)}};
    return c;
  };
  op.bench = [](const std::string& shapes) {
    const int64_t count = shapes == "small" ? 1000 : 20646;
    return std::vector<BenchCase>{{fmt::format("256 of {}", count), [=] {
                                     Random r(1);
                                     Case c;
                                     c.arrays["labels"] = r.integers({count}, -1, 1);
                                     return c;
                                   }}};
  };
  return op;
}

}  // namespace

void add_selection(Operations& list) {
  list.push_back(top_k());
  list.push_back(nms());
  list.push_back(sample_labels());
}

}  // namespace frcnn::apps::ops
