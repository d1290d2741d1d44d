#include "kernels/image/image_size.h"

#include <algorithm>
#include <cmath>

#include "kernels/launch/check.h"

namespace frcnn::kernels {

ImageSize scaled_image_size(int64_t height, int64_t width, int64_t shorter, int64_t longer,
                            SizeRounding rounding, bool keep_aspect) {
  check(height > 0 && width > 0 && shorter > 0,
        "[image_size] expected positive sizes, got an image of {}x{} and a shorter side of {}",
        height, width, shorter);
  if (!keep_aspect) {
    check(longer >= shorter, "[image_size] expected a longer side of at least {}, got {}", shorter,
          longer);
    return height > width ? ImageSize{longer, shorter, 0} : ImageSize{shorter, longer, 0};
  }
  const double low = static_cast<double>(std::min(height, width));
  const double high = static_cast<double>(std::max(height, width));
  const double most = static_cast<double>(longer);
  const bool nearest = rounding == SizeRounding::nearest;
  double scale = static_cast<double>(shorter) / low;
  // The original code limits only when the rounded side is too long; torchvision takes the minimum.
  if (longer > 0 && (!nearest || std::nearbyint(scale * high) > most))
    scale = std::min(scale, most / high);
  const auto scaled = [&](int64_t size) {
    const double exact = static_cast<double>(size) * scale;
    return std::max<int64_t>(
        1, static_cast<int64_t>(nearest ? std::nearbyint(exact) : std::floor(exact)));
  };
  return {scaled(height), scaled(width), scale};
}

}  // namespace frcnn::kernels
