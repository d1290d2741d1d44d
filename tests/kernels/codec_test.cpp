#include "kernels/boxes/codec.h"

#include <cmath>
#include <limits>

#include "tests/kernels/box_support.h"

using namespace frcnn;
using namespace frcnn::kernels;
using namespace frcnn::test;

namespace {

BoxCodecParams weighted() {
  BoxCodecParams p;
  p.std = {0.1, 0.1, 0.2, 0.2};
  return p;
}

template <typename T>
std::vector<T> encode(const BoxCodecParams& p, const std::vector<T>& anchors,
                      const std::vector<T>& boxes) {
  GuardedBuffer<T> out(boxes.size());
  cpu::encode_boxes(p, static_cast<int64_t>(boxes.size() / 4), anchors.data(), boxes.data(),
                    out.data());
  CHECK(out.guards_intact());
  return {out.data(), out.data() + out.size()};
}

template <typename T>
std::vector<T> decode(const BoxCodecParams& p, const std::vector<T>& anchors,
                      const std::vector<T>& deltas) {
  GuardedBuffer<T> out(deltas.size());
  cpu::decode_boxes(p, static_cast<int64_t>(deltas.size() / 4), anchors.data(), deltas.data(), 4,
                    out.data());
  CHECK(out.guards_intact());
  return {out.data(), out.data() + out.size()};
}

}  // namespace

TEST_CASE("A13 codec: centres and logarithms of the sides, as the paper's equation 2") {
  // Anchor with centre (50, 40), 20 x 40; box with centre (60, 50), 40 x 20.
  const auto deltas = encode<double>({}, {40, 20, 60, 60}, {40, 40, 80, 60});
  FRCNN_CHECK_SAME(deltas, std::vector<double>{0.5, 0.25, std::log(2.0), std::log(0.5)}, 1e-15, 0);
}

TEST_CASE("A13 codec: encode and decode equal torchvision's, weights 1 and 10 10 5 5") {
  for (const std::string name : {"codec_plain", "codec_weighted"}) {
    const BoxCodecParams p = name == "codec_plain" ? BoxCodecParams{} : weighted();
    const auto anchors = golden_f64("boxes", name + "/anchors").values;
    const auto boxes = golden_f64("boxes", name + "/boxes").values;
    const auto deltas = golden_f64("boxes", name + "/deltas").values;
    const auto encoded = golden_f64("boxes", name + "/encoded").values;
    const auto decoded = golden_f64("boxes", name + "/decoded").values;
    FRCNN_CHECK_SAME(encode(p, anchors, boxes), encoded, 1e-10, 1e-12);
    FRCNN_CHECK_SAME(decode(p, anchors, deltas), decoded, 1e-10, 1e-10);
    const auto anchors32 = golden_f32("boxes", name + "/anchors").values;
    const auto boxes32 = golden_f32("boxes", name + "/boxes").values;
    const auto deltas32 = golden_f32("boxes", name + "/deltas").values;
    FRCNN_CHECK_SAME(encode(p, anchors32, boxes32), golden_f32("boxes", name + "/encoded").values,
                     1e-5, 1e-4);
    FRCNN_CHECK_SAME(decode(p, anchors32, deltas32), golden_f32("boxes", name + "/decoded").values,
                     1e-5, 1e-3);
  }
}

TEST_CASE("A13 codec: decode undoes encode, with means and deviations") {
  BoxCodecParams p = weighted();
  p.mean = {0.3, -0.2, 0.1, -0.4};
  const auto anchors = random_boxes<double>(300, 500, 1, 300, 1);
  const auto boxes = random_boxes<double>(300, 500, 10, 60, 2);
  FRCNN_CHECK_SAME(decode(p, anchors, encode(p, anchors, boxes)), boxes, 1e-11, 1e-10);
  const std::vector<double> zero = encode(p, boxes, boxes);
  for (size_t i = 0; i < zero.size(); ++i)
    CHECK(std::abs(zero[i] + p.mean[i % 4] / p.std[i % 4]) < 1e-12);
}

TEST_CASE("A13 codec: deltas don't change when anchor and box are shifted or scaled together") {
  auto anchors = random_boxes<double>(100, 500, 5, 300, 3);
  auto boxes = random_boxes<double>(100, 500, 5, 300, 4);
  const auto before = encode({}, anchors, boxes);
  for (auto* set : {&anchors, &boxes})
    for (double& v : *set) v = 4 * v + 16;
  FRCNN_CHECK_SAME(encode({}, anchors, boxes), before, 1e-11, 1e-12);
}

TEST_CASE("A13 codec: sides grow at most 1000 / 16-fold and stay finite") {
  for (const double huge : {4.2, 100.0, 1e30}) {
    const auto box = decode<double>({}, {0, 0, 10, 10}, {0, 0, huge, huge});
    CHECK(std::abs(box[2] - box[0] - 625) < 1e-9);
    CHECK(std::abs(box[3] - box[1] - 625) < 1e-9);
  }
}

TEST_CASE("codec: rows of a class of a (R, 4 K) array; boxes over anchors in place") {
  const auto anchors = random_boxes<float>(7, 100, 5, 50, 5);
  const auto deltas = random_vector<float>(7 * 12, -1, 1, 6);
  std::vector<float> middle;
  for (size_t r = 0; r < 7; ++r)
    for (size_t k = 0; k < 4; ++k) middle.push_back(deltas[12 * r + 4 + k]);
  const auto expected = decode<float>({}, anchors, middle);
  GuardedBuffer<float> out(28);
  cpu::decode_boxes<float>({}, 7, anchors.data(), deltas.data() + 4, 12, out.data());
  FRCNN_CHECK_SAME(out.span(), expected, 0, 0);
  std::vector<float> place = anchors;
  cpu::decode_boxes<float>({}, 7, place.data(), middle.data(), 4, place.data());
  FRCNN_CHECK_SAME(place, expected, 0, 0);
}

TEST_CASE("A13 codec: gradient of decode equals central differences, 0 where a side was cut") {
  BoxCodecParams p;
  p.std = {0.1, 0.1, 0.2, 0.5};
  p.mean = {0.1, 0, -0.1, 0.2};
  constexpr size_t kCount = 40;
  const auto anchors = random_boxes<double>(kCount, 100, 5, 50, 11);
  std::vector<double> deltas = random_vector<double>(4 * kCount, -2, 2, 12);
  for (size_t i = 0; i < 3; ++i) deltas[4 * i + 2] = 30, deltas[4 * i + 3] = 20;  // cut
  const auto cotangent = random_vector<double>(4 * kCount, -1, 1, 13);
  GuardedBuffer<double> gradient(4 * kCount);
  cpu::decode_boxes_backward(p, kCount, anchors.data(), deltas.data(), cotangent.data(),
                             gradient.data());
  const auto value = [&] {
    const auto boxes = decode(p, anchors, deltas);
    double sum = 0;
    for (size_t i = 0; i < boxes.size(); ++i) sum += boxes[i] * cotangent[i];
    return sum;
  };
  std::vector<double> expected(4 * kCount);
  for (size_t i = 0; i < deltas.size(); ++i) {
    const double at = deltas[i], step = 1e-5;
    deltas[i] = at + step;
    const double above = value();
    deltas[i] = at - step;
    expected[i] = (above - value()) / (2 * step);
    deltas[i] = at;
  }
  FRCNN_CHECK_SAME(gradient.span(), expected, 1e-6, 1e-6);
  for (size_t i = 0; i < 3; ++i)
    CHECK((gradient.data()[4 * i + 2] == 0 && gradient.data()[4 * i + 3] == 0));
  CHECK(gradient.guards_intact());
}

TEST_CASE("A19 clip: equals torchvision's; clipping twice changes nothing") {
  auto boxes = golden_f32("boxes", "clip/boxes").values;
  const auto expected = golden_f32("boxes", "clip/clipped").values;
  for (int times = 0; times < 2; ++times) {
    GuardedBuffer<float> out(boxes.size());
    std::copy(boxes.begin(), boxes.end(), out.data());
    cpu::clip_boxes(static_cast<int64_t>(boxes.size() / 4), 300, 200, out.data());
    FRCNN_CHECK_SAME(out.span(), expected, 0, 0);
    CHECK(out.guards_intact());
    boxes.assign(out.data(), out.data() + out.size());
  }
}

TEST_CASE("clip: NaN stays NaN and infinities reach the border") {
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<float> box = {-inf, std::numeric_limits<float>::quiet_NaN(), inf, 3};
  cpu::clip_boxes(1, 10, 20, box.data());
  CHECK((box[0] == 0 && std::isnan(box[1]) && box[2] == 20 && box[3] == 3));
}

TEST_CASE("A20 size filter: boxes of at least the smallest width and height stay, NaN goes") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> boxes = {0, 0, 16, 12, 0, 0, 15.9f, 12, 0,   0,  16, 11.9f, 5,  5,
                                    5, 5, 9,  9,  4, 4, 0,     0,  nan, 50, 0,  0,     50, nan};
  GuardedFlags keep(7);
  cpu::boxes_large_enough(7, 12, 16, boxes.data(), keep.data());
  const std::vector<uint8_t> expected = {1, 0, 0, 0, 0, 0, 0};
  for (size_t i = 0; i < 7; ++i) CHECK(keep[i] == expected[i]);
  CHECK(keep.guards_intact());
}

TEST_CASE("codec: NaN passes through and nothing comes of nothing") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float v : decode<float>({}, {0, 0, 10, 10}, {nan, nan, nan, nan}))
    CHECK(std::isnan(v));
  CHECK(decode<float>({}, {}, {}).empty());
  CHECK(encode<float>({}, {}, {}).empty());
  cpu::decode_boxes_backward<float>({}, 0, nullptr, nullptr, nullptr, nullptr);
  cpu::clip_boxes<float>(0, 10, 10, nullptr);
  cpu::boxes_large_enough<float>(0, 1, 1, nullptr, nullptr);
}
