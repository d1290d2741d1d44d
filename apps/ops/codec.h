#pragma once

#include "apps/ops/definitions.h"
#include "kernels/boxes/codec.h"

/// What the operations on box deltas share (codec.cpp, batch_codec.cpp).
namespace frcnn::apps::ops {

inline kernels::BoxCodecParams codec_params(const Desk& d) {
  kernels::BoxCodecParams p;
  const auto &mean = d.list("mean"), &std = d.list("std");
  check(mean.size() == 4 && std.size() == 4, "[{}] mean and std must have 4 numbers, got {} and {}",
        d.op().name, mean.size(), std.size());
  std::copy(mean.begin(), mean.end(), p.mean.begin());
  std::copy(std.begin(), std.end(), p.std.begin());
  return p;
}

template <typename T>
kernels::ImageLimits<T> limits_of(const Desk& d) {
  return {static_cast<T>(d.number("height")), static_cast<T>(d.number("width")),
          static_cast<T>(d.number("min_h")), static_cast<T>(d.number("min_w"))};
}

inline std::vector<ParameterDoc> codec_parameters() {
  return {numbers("mean", {0, 0, 0, 0}, "subtracted from tx, ty, tw, th"),
          numbers("std", {1, 1, 1, 1}, "which then are divided by this")};
}
inline std::vector<ParameterDoc> size_parameters() {
  return {number("height", 600, "of the image, pixels"), number("width", 1000, "of the image"),
          number("min_h", 16, "least height of a box"), number("min_w", 16, "least width")};
}
inline std::vector<ParameterDoc> joined(std::vector<ParameterDoc> a,
                                        const std::vector<ParameterDoc>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline constexpr const char* kExpReason = "exp and log differ in their last bits between devices";

inline Values random_codec(Random& r) {
  if (r.chance(0.5)) return {};
  return {{"std", std::vector<double>{0.1, 0.1, 0.2, 0.2}},
          {"mean", std::vector<double>{0, 0.01, -0.02, 0.1}}};
}

inline std::vector<BenchCase> box_bench(const std::string& shapes,
                                        const std::function<Case(Random&, int64_t)>& make) {
  const int64_t count = shapes == "small" ? 1000 : 20646;
  return {{fmt::format("{} boxes", count), [=] {
             Random r(1);
             return make(r, count);
           }}};
}

inline Operation of_boxes(const std::string& name, const std::string& text,
                          std::vector<std::string> functions,
                          const std::function<Case(Random&, int64_t)>& make) {
  Operation op = describe(name, "boxes", text, "kernels/boxes/codec.h", std::move(functions));
  op.random_case = [=](Random& r) { return make(r, r.size(600, true)); };
  op.bench = [=](const std::string& shapes) { return box_bench(shapes, make); };
  return op;
}

void add_batch_codec(Operations& list);

}  // namespace frcnn::apps::ops
