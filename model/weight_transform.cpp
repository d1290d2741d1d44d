#include "model/weight_transform.h"

#include <algorithm>
#include <cmath>

#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"

namespace frcnn {
namespace {

constexpr int64_t kPartElements = int64_t{1} << 20;  // of a part that is read at once: 4 MiB

int64_t count_not_finite(const float* values, int64_t count) {
  return kernels::parallel_reduce<int64_t>(count, 1 << 16, [&](int64_t begin, int64_t end) {
    int64_t bad = 0;
    for (int64_t i = begin; i < end; ++i) bad += std::isfinite(values[i]) ? 0 : 1;
    return bad;
  });
}

/// Sizes without the ones that Caffe's old files put in front: (1, 1, 4096, 25088).
std::vector<int64_t> without_leading_ones(const Shape& shape, int rank) {
  std::vector<int64_t> dims(shape.dims().begin(), shape.dims().end());
  while (static_cast<int>(dims.size()) > rank && dims.front() == 1) dims.erase(dims.begin());
  return dims;
}

std::optional<WeightTransform> fit_keras(const WeightEntry& entry, const Shape& to, bool after_map,
                                         const RoiConfig& roi, int64_t map_channels) {
  WeightTransform transform;
  transform.from_keras = true;
  const Shape& from = entry.shape;
  if (from.rank() == 4) {  // (height, width, in, out)
    transform.height = from[0];
    transform.width = from[1];
    const bool conv = to == Shape{from[3], from[2], from[0], from[1]};
    const bool dense = to == Shape{from[3], from[2] * from[0] * from[1]};
    if (!conv && !dense) return std::nullopt;
    return transform;
  }
  if (from.rank() != 2) return std::nullopt;
  const bool dense = to == Shape{from[1], from[0]};
  const bool conv = to == Shape{from[1], from[0], 1, 1};
  if (!dense && !conv) return std::nullopt;
  if (after_map) {
    if (from[0] != map_channels * roi.pooled_height * roi.pooled_width) return std::nullopt;
    transform.height = roi.pooled_height;
    transform.width = roi.pooled_width;
  }
  return transform;
}

/// Target rows of a part of a Keras matrix: `rows` source rows (y * width + x) * channels + c.
struct Part {
  std::vector<int64_t> order;  ///< rows of the buffer, by rising place in the target
  std::vector<int64_t> place;  ///< their places, c * height * width + y * width + x
};

/// out[o][place] = buffer[row][o] for all rows of a part. Sixteen outputs at a time: a cache line
/// of the buffer, and as many streams into the target.
void scatter(const std::vector<float>& buffer, const Part& part, int64_t outputs, int64_t inputs,
             float* out) {
  constexpr int64_t kLine = 16;
  kernels::parallel_for((outputs + kLine - 1) / kLine, 4, [&](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; ++line) {
      const int64_t first = line * kLine, count = std::min(kLine, outputs - first);
      for (size_t i = 0; i < part.order.size(); ++i) {
        const float* from = buffer.data() + part.order[i] * outputs + first;
        float* to = out + first * inputs + part.place[i];
        for (int64_t o = 0; o < count; ++o) to[o * inputs] = from[o];
      }
    }
  });
}

int64_t load_keras(const WeightFile& file, const WeightEntry& entry,
                   const WeightTransform& transform, float* out) {
  const int64_t outputs = entry.shape[-1];
  const int64_t inputs = outputs > 0 ? entry.shape.numel() / outputs : 0;
  const int64_t cells = transform.height * transform.width;
  const int64_t channels = cells > 0 ? inputs / cells : 0;
  if (inputs == 0) return 0;
  // read_rows() counts rows of the first dimension, which holds `per_row` of the matrix's rows.
  const int64_t per_row = inputs / entry.shape[0];
  int64_t bad = 0;
  std::vector<float> buffer;
  Part part;
  if (per_row == 1 && cells > 1 && file.random_access(entry)) {
    // Some channels of every cell: they are neighbours in the target.
    const int64_t step = std::clamp<int64_t>(kPartElements / (outputs * cells), 1, channels);
    for (int64_t c = 0; c < channels; c += step) {
      const int64_t count = std::min(step, channels - c);
      buffer.resize(static_cast<size_t>(cells * count * outputs));
      for (int64_t cell = 0; cell < cells; ++cell)
        file.read_rows(entry, cell * channels + c, count, buffer.data() + cell * count * outputs);
      part = {};
      for (int64_t k = 0; k < count; ++k)
        for (int64_t cell = 0; cell < cells; ++cell) {
          part.order.push_back(cell * count + k);
          part.place.push_back((c + k) * cells + cell);
        }
      bad += count_not_finite(buffer.data(), static_cast<int64_t>(buffer.size()));
      scatter(buffer, part, outputs, inputs, out);
    }
    return bad;
  }
  const int64_t step = std::clamp<int64_t>(kPartElements / (outputs * per_row), 1, entry.shape[0]);
  for (int64_t row = 0; row < entry.shape[0]; row += step) {
    const int64_t count = std::min(step, entry.shape[0] - row);
    buffer.resize(static_cast<size_t>(count * per_row * outputs));
    file.read_rows(entry, row, count, buffer.data());
    part = {};
    for (int64_t i = 0; i < count * per_row; ++i) {
      const int64_t from = row * per_row + i;
      part.order.push_back(i);
      part.place.push_back(from % channels * cells + from / channels);
    }
    bad += count_not_finite(buffer.data(), static_cast<int64_t>(buffer.size()));
    scatter(buffer, part, outputs, inputs, out);
  }
  return bad;
}

int64_t load_rows(const WeightFile& file, const WeightEntry& entry, float* out) {
  if (entry.shape.numel() == 0) return 0;
  const int64_t rows = entry.shape.rank() == 0 ? 1 : entry.shape[0];
  const int64_t row = entry.shape.numel() / rows;
  const int64_t step = std::clamp<int64_t>(kPartElements / row, 1, rows);
  int64_t bad = 0;
  for (int64_t first = 0; first < rows; first += step) {
    const int64_t count = std::min(step, rows - first);
    file.read_rows(entry, first, count, out + first * row);
    bad += count_not_finite(out + first * row, count * row);
  }
  return bad;
}

void interleave_scores(Tensor& values) {
  const int64_t anchors = values.dim(0) / 2, row = values.numel() / values.dim(0);
  const Tensor theirs = values.clone();
  for (int64_t a = 0; a < anchors; ++a)
    for (int64_t object = 0; object < 2; ++object)
      std::copy_n(theirs.data<float>() + (object * anchors + a) * row, row,
                  values.data<float>() + (2 * a + object) * row);
}

void normalise_boxes(Tensor& values, const WeightTransform& transform, bool bias) {
  const int64_t row = values.numel() / values.dim(0);
  float* at = values.data<float>();
  for (int64_t i = 0; i < values.numel(); ++i) {
    const auto coordinate = static_cast<size_t>(i / row % 4);
    const double mean = bias ? transform.box_mean[coordinate] : 0;
    at[i] = static_cast<float>((at[i] - mean) / transform.box_std[coordinate]);
  }
}

}  // namespace

std::string WeightTransform::note() const {
  if (interleave_scores) return "scores of an anchor made neighbours";
  if (!box_std.empty()) return "box targets normalised";
  if (from_keras && height * width > 1) return fmt::format("HWC {}x{} to CHW", height, width);
  return from_keras ? "transposed" : "";
}

std::optional<WeightTransform> fit_array(const WeightEntry& entry, WeightOrder order,
                                         NameScheme scheme, const Parameter& parameter,
                                         const RoiConfig& roi, int64_t map_channels) {
  const Shape& to = parameter.tensor.shape();
  const bool kernel = entry.name.ends_with("/kernel");
  if ((order == WeightOrder::keras || kernel) && to.rank() >= 2)
    return fit_keras(entry, to, parameter.name == "head.fc6.weight", roi, map_channels);
  const std::vector<int64_t> from = without_leading_ones(entry.shape, to.rank());
  const bool rows_agree =
      !from.empty() && to.rank() > 0 && from[0] == to[0] && entry.shape.numel() == to.numel();
  const bool same = std::equal(from.begin(), from.end(), to.dims().begin(), to.dims().end());
  // A dense layer may be stored as a convolution over the whole map and the other way round, but
  // only where no kernel is mistaken for another: (out, in, 3, 3) is not (out, 9 in, 1, 1).
  const bool reshaped = rows_agree && static_cast<int>(from.size()) != to.rank() && to.rank() >= 2;
  if (!same && !reshaped) return std::nullopt;
  WeightTransform transform;
  if (scheme == NameScheme::caffe) {
    transform.interleave_scores = parameter.name.starts_with("rpn.cls.") && to[0] % 2 == 0;
    if (parameter.name.starts_with("head.box.")) {
      transform.box_mean = roi.box_mean;
      transform.box_std = roi.box_std;
    }
  }
  return transform;
}

int64_t load_array(const WeightFile& file, const WeightEntry& entry,
                   const WeightTransform& transform, const Parameter& parameter) {
  Tensor target = parameter.tensor;
  const bool direct = target.dtype() == DType::f32 && !target.device().is_gpu();
  Tensor values = direct ? target : Tensor::empty(target.shape());
  const int64_t bad = transform.from_keras
                          ? load_keras(file, entry, transform, values.data<float>())
                          : load_rows(file, entry, values.data<float>());
  if (transform.interleave_scores) interleave_scores(values);
  if (!transform.box_std.empty()) normalise_boxes(values, transform, target.rank() == 1);
  if (!direct) target.copy_from(values.to(target.dtype()));
  target.bump_version();
  return bad;
}

}  // namespace frcnn
