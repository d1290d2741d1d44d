#pragma once

#include <cstdint>

#include "kernels/launch/check.h"
#include "kernels/launch/layout.h"

namespace frcnn::kernels {

/// Windows along one dimension of a pooling. With `ceil_mode` a last window may reach beyond the
/// padding, but not begin there.
inline int64_t pooled_size(int64_t in, int64_t kernel, int64_t stride, int64_t pad,
                           bool ceil_mode) {
  const int64_t span = in + 2 * pad - kernel;
  if (span < 0) return 0;
  int64_t out = (span + (ceil_mode ? stride - 1 : 0)) / stride + 1;
  if (ceil_mode && (out - 1) * stride >= in + pad) --out;
  return out;
}

/// Layout of x pooled with the windows of `p` (MaxPoolParams or AvgPoolParams). Throws Error that
/// begins with the operation's name where kernel, stride, padding or the map's size are impossible.
template <typename Params>
MapLayout pooled_layout(const char* op, const MapLayout& x, const Params& p) {
  check(p.kernel_h > 0 && p.kernel_w > 0 && p.stride_h > 0 && p.stride_w > 0 && p.pad_h >= 0 &&
            p.pad_w >= 0,
        "[{}] expected a positive kernel and stride and no negative padding, got kernel {}x{}, "
        "stride {}x{}, padding {}x{}",
        op, p.kernel_h, p.kernel_w, p.stride_h, p.stride_w, p.pad_h, p.pad_w);
  const MapLayout y = x.resized(pooled_size(x.h, p.kernel_h, p.stride_h, p.pad_h, p.ceil_mode),
                                pooled_size(x.w, p.kernel_w, p.stride_w, p.pad_w, p.ceil_mode));
  check(x.h > 0 && x.w > 0 && y.h > 0 && y.w > 0,
        "[{}] a {}x{} kernel does not fit a {}x{} map with padding {}x{}", op, p.kernel_h,
        p.kernel_w, x.h, x.w, p.pad_h, p.pad_w);
  return y;
}

}  // namespace frcnn::kernels
