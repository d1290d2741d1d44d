#include "kernels/boxes/rows.h"

#include "apps/ops/definitions.h"

namespace frcnn::apps::ops {
namespace {

using namespace kernels;
constexpr const char* kHeader = "kernels/boxes/rows.h";

// These kernels exist for GPUs only; the CPU's side is written out here.

struct Objectness {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t count = d.letter("n"), columns = d.letter("c");
    check(columns == 1 || columns == 2, "[objectness] logits must have 1 or 2 columns, found {}",
          columns);
    const T* logits = d.input<T>("logits");
    T* scores = d.output<T>("scores", {count});
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        for (int64_t i = 0; i < count; ++i)
          scores[i] = columns == 1 ? logits[i] : logits[2 * i + 1] - logits[2 * i];
      else
        gpu::objectness<Where::backend>(nullptr, count, static_cast<int>(columns), logits, scores);
    });
  }
};

struct GatherRows {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t rows = d.letter("R"), columns = d.letter("c"), count = d.letter("n");
    for (const int32_t index : d.array("indices").as<int32_t>())
      check(index < count, "[gather_rows] indices: there is no row {} of {}", index, count);
    const auto missing = static_cast<T>(d.number("missing"));
    const auto* indices = d.input<int32_t>("indices");
    const T* source = d.input<T>("source");
    T* out = d.output<T>("out", {rows, columns});
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        for (int64_t i = 0; i < rows * columns; ++i) {
          const int64_t row = indices[i / columns];
          out[i] = row < 0 ? missing : source[row * columns + i % columns];
        }
      else
        gpu::gather_rows<Where::backend>(nullptr, rows, columns, missing, indices, source, out);
    });
  }
};

struct Remainders {
  template <typename Where, typename>
  static void prepare(Desk& d) {
    const int64_t rows = d.letter("R"), count = d.integer("count");
    check(count > 0, "[remainders] count must be positive, found {}", count);
    const auto* indices = d.input<int32_t>("indices");
    auto* groups = d.output<int32_t>("groups", {rows});
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        for (int64_t i = 0; i < rows; ++i)
          groups[i] = indices[i] < 0 ? -1 : static_cast<int32_t>(indices[i] % count);
      else
        gpu::remainders<Where::backend>(nullptr, rows, count, indices, groups);
    });
  }
};

/// Counts in [0, most].
void check_counts(const Desk& d, const std::string& name, int64_t most) {
  for (const int32_t count : d.array(name).as<int32_t>())
    check(count >= 0 && count <= most, "[{}] {}: {} rows cannot be used of {}", d.op().name, name,
          count, most);
}

struct AppendRows {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t images = d.letter("N"), columns = d.letter("c");
    const int64_t first_rows = d.letter("n"), second_rows = d.letter("m");
    check_counts(d, "first_counts", first_rows);
    check_counts(d, "second_counts", second_rows);
    const T *first = d.input<T>("first"), *second = d.input<T>("second");
    const auto *first_counts = d.input<int32_t>("first_counts"),
               *second_counts = d.input<int32_t>("second_counts");
    const int64_t rows = first_rows + second_rows;
    T* out = d.output<T>("out", {images, rows, columns});
    auto* out_counts = d.output<int32_t>("out_counts", {images});
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        for (int64_t i = 0; i < images; ++i) {
          T* target = out + i * rows * columns;
          std::fill(target, target + rows * columns, T(0));
          const T *a = first + i * first_rows * columns, *b = second + i * second_rows * columns;
          target = std::copy(a, a + first_counts[i] * columns, target);
          std::copy(b, b + second_counts[i] * columns, target);
          out_counts[i] = first_counts[i] + second_counts[i];
        }
      else
        gpu::append_rows<Where::backend>(nullptr, images, columns, first_rows, first, first_counts,
                                         second_rows, second, second_counts, out, out_counts);
    });
  }
};

struct MakeRois {
  template <typename Where, typename T>
  static void prepare(Desk& d) {
    const int64_t images = d.letter("N"), capacity = d.letter("n");
    const bool counted = d.has("counts");
    check(counted != d.has("indices"), "[make_rois] needs either counts or indices");
    if (counted) check_counts(d, "counts", capacity);
    const T* boxes = d.input<T>("boxes");
    const auto *counts = d.input<int32_t>("counts"), *indices = d.input<int32_t>("indices");
    T* rois = d.output<T>("rois", {images, capacity, 5});
    d.pass("forward", [=] {
      if constexpr (Where::cpu)
        for (int64_t i = 0; i < images * capacity; ++i) {
          const int64_t image = i / capacity;
          const bool used = counted ? i % capacity < counts[image] : indices[i] >= 0;
          T* roi = rois + 5 * i;
          std::fill(roi, roi + 5, T(0));
          roi[0] = used ? static_cast<T>(image) : T(-1);
          if (used) std::copy(boxes + 4 * i, boxes + 4 * i + 4, roi + 1);
        }
      else
        gpu::make_rois<Where::backend>(nullptr, images, capacity, boxes, counts, indices, rois);
    });
  }
};

Operation of_rows(const std::string& name, const std::string& text) {
  return describe(name, "boxes", text, kHeader, {name});
}

Array numbers_of(Random& r, const Extent& extent) {
  return r.floats(extent, -5, 5);
}

void add_lists(Operations& list) {
  Operation gather = of_rows("gather_rows", "rows that a list of indices names");
  gather.inputs = {array_doc("indices", Type::i32, "(R)", "negative: no row"),
                   array_doc("source", Type::f32, "(n, c)", "rows")};
  gather.outputs = {array_doc("out", Type::f32, "(R, c)", "the rows")};
  gather.params = {number("missing", 0, "where there is no row")};
  gather.prepare = on_all_devices<GatherRows, float, double>();
  gather.random_case = [](Random& r) {
    Case c;
    const int64_t rows = r.size(50);
    c.arrays["indices"] = r.integers({r.size(300, true)}, -2, rows - 1);
    c.arrays["source"] = numbers_of(r, {rows, r.size(7)});
    c.params["missing"] = r.uniform(-1, 1);
    return c;
  };
  list.push_back(gather);

  Operation remainders = of_rows("remainders", "classes of the entries of a flattened list");
  remainders.types = {};
  remainders.inputs = {array_doc("indices", Type::i32, "(R)", "of entries; negative: none")};
  remainders.outputs = {array_doc("groups", Type::i32, "(R)", "index modulo count, or -1")};
  remainders.params = {integer("count", 1, "classes")};
  remainders.prepare = [](Desk& d) {
    on_device(d.device(), [&](auto where) { Remainders::prepare<decltype(where), float>(d); });
  };
  remainders.random_case = [](Random& r) {
    Case c;
    c.arrays["indices"] = r.integers({r.size(600, true)}, -3, 1000);
    c.params["count"] = r.between(1, 30);
    return c;
  };
  list.push_back(remainders);
}

void add_joins(Operations& list) {
  Operation append = of_rows("append_rows", "per image the used rows of two lists, joined");
  append.inputs = {array_doc("first", Type::f32, "(N, n, c)", "rows"),
                   array_doc("first_counts", Type::i32, "(N)", "used rows"),
                   array_doc("second", Type::f32, "(N, m, c)", "rows"),
                   array_doc("second_counts", Type::i32, "(N)", "used rows")};
  append.outputs = {array_doc("out", Type::f32, "(N, n + m, c)", "joined; 0 behind"),
                    array_doc("out_counts", Type::i32, "(N)", "used rows")};
  append.prepare = on_all_devices<AppendRows, float, double>();
  append.random_case = [](Random& r) {
    Case c;
    const int64_t images = r.size(3), n = r.size(60, true), m = r.size(20, true), k = r.size(5);
    c.arrays["first"] = numbers_of(r, {images, n, k});
    c.arrays["second"] = numbers_of(r, {images, m, k});
    c.arrays["first_counts"] = r.integers({images}, 0, n);
    c.arrays["second_counts"] = r.integers({images}, 0, m);
    return c;
  };
  list.push_back(append);

  Operation rois = of_rows("make_rois", "boxes of a batch as RoIs; unused rows name no image");
  rois.inputs = {array_doc("boxes", Type::f32, "(N, n, 4)", "x1, y1, x2, y2"),
                 optional(array_doc("counts", Type::i32, "(N)", "used rows of each image")),
                 optional(array_doc("indices", Type::i32, "(N, n)", "or: unused if negative"))};
  rois.outputs = {array_doc("rois", Type::f32, "(N, n, 5)", "image (-1: unused), x1, y1, x2, y2")};
  rois.prepare = on_all_devices<MakeRois, float, double>();
  rois.random_case = [](Random& r) {
    Case c;
    const int64_t images = r.size(3), n = r.size(100, true);
    c.arrays["boxes"] = numbers_of(r, {images, n, 4});
    if (r.chance(0.5))
      c.arrays["counts"] = r.integers({images}, 0, n);
    else
      c.arrays["indices"] = r.integers({images, n}, -2, 5);
    return c;
  };
  list.push_back(rois);
}

}  // namespace

void add_rows(Operations& list) {
  Operation scores = of_rows("objectness", "the logit of \"object\" alone");
  scores.inputs = {array_doc("logits", Type::f32, "(n, c)", "c is 2 (softmax) or 1 (sigmoid)")};
  scores.outputs = {array_doc("scores", Type::f32, "(n)", "differences, or the logits")};
  scores.prepare = on_all_devices<Objectness, float, double>();
  scores.random_case = [](Random& r) {
    Case c;
    c.arrays["logits"] = numbers_of(r, {r.size(600, true), r.between(1, 2)});
    return c;
  };
  list.push_back(scores);
  add_lists(list);
  add_joins(list);
}

}  // namespace frcnn::apps::ops
