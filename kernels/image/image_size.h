#pragma once

#include <cstdint>

namespace frcnn::kernels {

/// How the size of a resized image becomes whole.
enum class SizeRounding : uint8_t {
  nearest,  ///< round(size * scale), halves to even, as py-faster-rcnn (OpenCV) does
  floor,  ///< floor(size * scale), as torchvision does (whose older releases took scale in float32)
};

struct ImageSize {
  int64_t height = 0, width = 0;
  /// Before rounding; the exact factors are height / old height, width / old width. 0: there is no
  /// common one.
  double scale = 1;
};

/// The paper's rule (Ren et al., section 3.3): the shorter side becomes `shorter`, unless the
/// longer one would exceed `longer`; then that becomes `longer`:
///   scale = min(shorter / min(height, width), longer / max(height, width)).
/// `longer` <= 0: no limit. 375x500 with 600, 1000 becomes 600x800. With `nearest` the limit is
/// applied only when the rounded longer side exceeds it, as in the original code. Throws Error on
/// sizes < 1.
///
/// Without `keep_aspect` the picture is stretched: its shorter side becomes `shorter` and its
/// longer one `longer` (> 0) whatever they were. A square one counts as wide.
ImageSize scaled_image_size(int64_t height, int64_t width, int64_t shorter, int64_t longer,
                            SizeRounding rounding = SizeRounding::nearest, bool keep_aspect = true);

}  // namespace frcnn::kernels
