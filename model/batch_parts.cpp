#include "model/batch_parts.h"

#include <algorithm>
#include <array>

#include "engine/dispatch.h"

namespace frcnn {
namespace {

/// Height and width of an image when it is alone.
std::array<int64_t, 2> frame(const ModelInput& batch, size_t image) {
  const InputSize& size = batch.sizes[image];
  return {size.padded_height > 0 ? size.padded_height : batch.images.dim(2),
          size.padded_width > 0 ? size.padded_width : batch.images.dim(3)};
}

/// The top left corners (height, width) of images [first, first + count).
Tensor cut(const Tensor& images, size_t first, size_t count, int64_t height, int64_t width) {
  const Tensor from = images.rows(static_cast<int64_t>(first), static_cast<int64_t>(count));
  if (height == images.dim(2) && width == images.dim(3)) return from;
  const Tensor source = from.to(Device{});
  Tensor out = Tensor::empty({source.dim(0), 3, height, width}, source.dtype());
  with_float(source.dtype(), "batch", [&](auto t) {
    using T = decltype(t);
    const T* in = source.data<T>();
    T* to = out.data<T>();
    for (int64_t plane = 0; plane < source.dim(0) * 3; ++plane)
      for (int64_t y = 0; y < height; ++y, to += width)
        std::copy_n(in + (plane * source.dim(2) + y) * source.dim(3), width, to);
  });
  return out;
}

BatchPart part(const ModelInput& batch, size_t first, size_t count) {
  const auto [height, width] = frame(batch, first);
  BatchPart result;
  result.first = first;
  result.input = batch;
  result.input.images = cut(batch.images, first, count, height, width);
  const auto begin = batch.sizes.begin() + static_cast<std::ptrdiff_t>(first);
  result.input.sizes.assign(begin, begin + static_cast<std::ptrdiff_t>(count));
  if (!batch.regions.empty()) {
    const auto regions = batch.regions.begin() + static_cast<std::ptrdiff_t>(first);
    result.input.regions.assign(regions, regions + static_cast<std::ptrdiff_t>(count));
  }
  if (!batch.names.empty()) {
    const auto names = batch.names.begin() + static_cast<std::ptrdiff_t>(first);
    result.input.names.assign(names, names + static_cast<std::ptrdiff_t>(count));
  }
  return result;
}

}  // namespace

std::vector<BatchPart> batch_parts(const ModelInput& batch) {
  std::vector<BatchPart> parts;
  for (size_t first = 0, last = 0; first < batch.sizes.size(); first = last) {
    for (last = first + 1; last < batch.sizes.size() && frame(batch, last) == frame(batch, first);)
      ++last;
    parts.push_back(part(batch, first, last - first));
  }
  return parts;
}

std::vector<BatchPart> single_images(const ModelInput& batch) {
  std::vector<BatchPart> parts;
  for (size_t image = 0; image < batch.sizes.size(); ++image)
    parts.push_back(part(batch, image, 1));
  return parts;
}

std::vector<int64_t> rois_per_image(const Tensor& rois, size_t images) {
  std::vector<int64_t> counts(images, 0);
  with_float(rois.dtype(), "batch", [&](auto t) {
    using T = decltype(t);
    const T* row = rois.data<T>();
    for (int64_t r = 0, last = 0; r < rois.dim(0); ++r, row += 5) {
      const auto image = static_cast<int64_t>(row[0]);
      check(image >= last && image < static_cast<int64_t>(images),
            "[batch] expected RoIs in order of their images 0 to {}, got {} after {}", images - 1,
            image, last);
      last = image;
      ++counts[static_cast<size_t>(image)];
    }
  });
  return counts;
}

}  // namespace frcnn
