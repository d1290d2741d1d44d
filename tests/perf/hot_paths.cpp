// The ten hottest paths of the kernels that are the project's own, on small inputs, for
// scripts/perf_guard.sh: callgrind counts the instructions of measured_path() alone. Convolutions
// and dense layers are oneDNN's, whose code is made for the processor at hand: they are not here.
#include <atomic>
#include <cstdio>
#include <functional>
#include <vector>

#include "kernels/boxes/iou_match.h"
#include "kernels/boxes/nms.h"
#include "kernels/boxes/topk.h"
#include "kernels/image/resize.h"
#include "kernels/launch/parallel.h"
#include "kernels/norm/batch_norm.h"
#include "kernels/optim/sgd.h"
#include "kernels/pooling/max_pool.h"
#include "kernels/pooling/roi_align.h"
#include "kernels/pooling/roi_pool.h"
#include "kernels/random/philox.h"

/// What is counted: a name that callgrind finds.
extern "C" [[gnu::noipa]] void measured_path(const std::function<void()>& run) {
  run();
  std::atomic_signal_fence(std::memory_order_seq_cst);  // no tail call
}

namespace {

using namespace frcnn::kernels;

std::vector<float> uniform(int64_t count, uint32_t which, float low = -1, float high = 1) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = low + (high - low) * random_uniform({1, kStreamTest, which}, i);
  return values;
}

/// Boxes of 16 to 200 pixels in a picture of 400 x 300.
std::vector<float> boxes(int64_t count, uint32_t which) {
  std::vector<float> values = uniform(4 * count, which, 0, 1);
  for (size_t i = 0; i < values.size(); i += 4) {
    values[i] *= 200, values[i + 1] *= 100;
    values[i + 2] = values[i] + 16 + 184 * values[i + 2];
    values[i + 3] = values[i + 1] + 16 + 184 * values[i + 3];
  }
  return values;
}

std::vector<float> rois(int64_t count) {
  const std::vector<float> plain = boxes(count, 5);
  std::vector<float> values;
  for (size_t i = 0; i < plain.size(); i += 4)
    values.insert(values.end(), {0, plain[i], plain[i + 1], plain[i + 2], plain[i + 3]});
  return values;
}

size_t size_of(const MapLayout& layout) {
  return static_cast<size_t>(layout.size());
}

constexpr MapLayout kMap = {1, 64, 19, 25, 16};

void resize() {
  std::vector<uint8_t> image(240 * 320 * 3);
  for (size_t i = 0; i < image.size(); ++i)
    image[i] = static_cast<uint8_t>(random_bits({1, kStreamTest, 2}, i));
  ResizeParams p;
  p.in_h = 240, p.in_w = 320, p.out_h = 300, p.out_w = 400;
  std::vector<float> out(300 * 400 * 3);
  measured_path([&] { cpu::resize_normalize(p, image.data(), out.data()); });
}

void select() {
  const auto scores = uniform(20646, 3, 0, 1);
  std::vector<int64_t> indices(6000);
  measured_path([&] { cpu::top_k<float>(20646, 6000, scores.data(), nullptr, indices.data()); });
}

void suppress() {
  const auto all = boxes(3000, 4);
  std::vector<int64_t> kept(3000);
  measured_path([&] { cpu::nms_sorted(3000, 0.7, 3000, all.data(), nullptr, kept.data()); });
}

void match() {
  constexpr int64_t kBoxes = 20646, kObjects = 20;
  const auto all = boxes(kBoxes, 6), truth = boxes(kObjects, 7);
  std::vector<float> best(kBoxes), object_best(kObjects);
  std::vector<int32_t> index(kBoxes), labels(kBoxes);
  measured_path([&] {
    cpu::iou_best<float>(kBoxes, kObjects, all.data(), truth.data(), nullptr, best.data(),
                         index.data(), object_best.data());
    cpu::match_labels<float>({}, kBoxes, kObjects, all.data(), truth.data(), nullptr, best.data(),
                             object_best.data(), labels.data());
  });
}

void pool() {
  const MapLayout layout = {1, 64, 75, 100, 16};
  const MaxPoolParams p;
  const auto x = uniform(layout.size(), 8);
  std::vector<float> y(size_of(max_pool_layout(layout, p))), dx(x.size());
  std::vector<uint8_t> window(y.size());
  measured_path([&] {
    cpu::max_pool_forward(layout, p, x.data(), y.data(), window.data());
    cpu::max_pool_backward(layout, p, y.data(), window.data(), dx.data());
  });
}

void pool_regions() {
  const auto x = uniform(kMap.size(), 9), regions = rois(100);
  std::vector<float> y(100 * 64 * 49);
  std::vector<int32_t> argmax(y.size());
  measured_path([&] {
    cpu::roi_pool_forward(kMap, {}, 100, x.data(), regions.data(), y.data(), argmax.data());
  });
}

void align_regions() {
  const auto x = uniform(kMap.size(), 10), regions = rois(100);
  std::vector<float> y(100 * 64 * 49);
  measured_path([&] { cpu::roi_align_forward(kMap, {}, 100, x.data(), regions.data(), y.data()); });
}

void align_regions_backward() {
  const auto dy = uniform(100 * 64 * 49, 11), regions = rois(100);
  std::vector<float> dx(size_of(kMap));
  measured_path(
      [&] { cpu::roi_align_backward(kMap, {}, 100, regions.data(), dy.data(), dx.data()); });
}

void normalise() {
  const MapLayout layout = {2, 64, 38, 50, 16};
  const auto x = uniform(layout.size(), 12), dy = uniform(layout.size(), 13);
  const std::vector<float> gamma(64, 1.5f), beta(64, 0.5f);
  std::vector<float> y(x.size()), dx(x.size()), mean(64), rstd(64), dgamma(64), dbeta(64);
  const BatchNormParams p = {.relu = true};
  measured_path([&] {
    cpu::batch_norm_train_forward<float>(layout, p, x.data(), gamma.data(), beta.data(), y.data(),
                                         mean.data(), rstd.data(), nullptr, nullptr);
    cpu::batch_norm_train_backward<float>(layout, p, x.data(), y.data(), gamma.data(), mean.data(),
                                          rstd.data(), dy.data(), dx.data(), dgamma.data(),
                                          dbeta.data());
  });
}

void update() {
  constexpr int64_t kCount = 1 << 20;
  const auto g = uniform(kCount, 14);
  std::vector<float> w(kCount, 0.5f), v(kCount, 0.25f);
  measured_path([&] { cpu::sgd_step<float>(kCount, {}, g.data(), w.data(), v.data()); });
}

struct Path {
  const char* name;
  void (*run)();
};
constexpr Path kPaths[] = {{"resize", resize},
                           {"top_k", select},
                           {"nms", suppress},
                           {"iou_match", match},
                           {"max_pool", pool},
                           {"roi_pool", pool_regions},
                           {"roi_align", align_regions},
                           {"roi_align_backward", align_regions_backward},
                           {"batch_norm", normalise},
                           {"sgd", update}};

}  // namespace

/// Without arguments: runs all paths in order and prints their names; callgrind dumps after each.
int main() {
  set_num_threads(1);
  for (const Path& path : kPaths) {
    path.run();
    std::printf("%s\n", path.name);
  }
}
