#pragma once

#include <algorithm>

#include "kernels/conv/conv2d.h"
#include "kernels/launch/gpu.cuh"

/// Index arithmetic that all passes and versions of the convolution share.
namespace frcnn::kernels::gpu::conv {

/// Quotients of numbers in [0, 2^31) by a divisor that the host knows: a multiplication and a shift
/// (Granlund & Montgomery, PLDI 1994). With 2^(l-1) < d <= 2^l and f = ceil(2^(31+l) / d), f d
/// exceeds 2^(31+l) by less than 2^l, so that floor(n f / 2^(31+l)) is exact for n < 2^31.
class FastDivide {
 public:
  FastDivide() = default;
  explicit FastDivide(int64_t divisor) : divisor_(static_cast<int>(divisor)) {
    int log = 0;
    while ((int64_t{1} << log) < divisor) ++log;
    shift_ = 31 + log;
    factor_ = static_cast<uint32_t>(((uint64_t{1} << shift_) + uint64_t(divisor) - 1) /
                                    static_cast<uint64_t>(divisor));
  }
  __device__ int quotient(int n) const {
    return static_cast<int>((static_cast<uint64_t>(static_cast<uint32_t>(n)) * factor_) >> shift_);
  }
  __device__ int remainder(int n) const { return n - quotient(n) * divisor_; }
  __device__ int divisor() const { return divisor_; }

 private:
  int divisor_ = 1;
  uint32_t factor_ = uint32_t{1} << 31;
  int shift_ = 31;
};

/// A MapLayout as kernels use it. An element's address splits into a part of the pixel and a part
/// of the channel, in every layout:
///   at(n, c, h, w) = n * image + (h * width + w) * block + channel(c)
struct Map {
  int64_t image = 0;  ///< elements of an image
  int images = 0, height = 0, width = 0, block = 1;
  int channels = 0;  ///< C
  int stored = 0;    ///< C rounded up to whole blocks; channels from C on are zero
  int plane = 0;     ///< elements of a channel block
  FastDivide by_block;

  Map() = default;
  explicit Map(const MapLayout& m)
      : image(m.blocks() * m.block * m.h * m.w),
        images(static_cast<int>(m.n)),
        height(static_cast<int>(m.h)),
        width(static_cast<int>(m.w)),
        block(static_cast<int>(m.block)),
        channels(static_cast<int>(m.c)),
        stored(static_cast<int>(m.blocks() * m.block)),
        plane(static_cast<int>(m.h * m.w * m.block)),
        by_block(m.block) {}

  __device__ int channel(int c) const {
    const int b = by_block.quotient(c);
    return b * plane + (c - b * block);
  }
  __device__ int pixel(int h, int w) const { return (h * width + w) * block; }
};

/// One axis of a gathering pass. Forward: position p of y reads rows p * stride - pad + a of x.
///
/// Backward data turns this round: row h of dx receives from rows i of dy with i * stride - pad + u
/// = h. Only taps u with (h + pad - u) divisible by the stride count, and which these are depends
/// on the residue r = h % stride alone. So the rows of each residue class are a convolution of
/// their own, with stride 1 over dy and every stride-th tap, walked backwards:
///   h = r + p * stride, u = u0 + a * stride, i = p + (r + pad - u0) / stride - a
/// where u0 = (r + pad) % stride. No product is with a zero put between the rows of dy.
struct GatherAxis {
  int count;                         ///< positions p
  int first, spacing;                ///< p is row first + p * spacing of the target map
  int step, offset, direction;       ///< tap a reads row p * step + offset + a * direction
  int taps, first_tap, tap_spacing;  ///< tap a is row first_tap + a * tap_spacing of the filter

  __host__ __device__ static GatherAxis forward(int out, int kernel, int stride, int pad) {
    return {out, 0, 1, stride, -pad, 1, kernel, 0, 1};
  }
  __host__ __device__ static GatherAxis backward(int in, int kernel, int stride, int pad,
                                                 int residue) {
    const int u0 = (residue + pad) % stride;
    const int count = in > residue ? (in - residue + stride - 1) / stride : 0;
    const int taps = kernel > u0 ? (kernel - u0 + stride - 1) / stride : 0;
    return {count, residue, stride, 1, (residue + pad - u0) / stride, -1, taps, u0, stride};
  }
};

/// Forward and backward data as one matrix product: rows are pixels of the target map, columns its
/// channels, and the sum runs over k = (tap row, tap column, source channel), channel fastest.
///   forward        target = y   source = x    one class
///   backward data  target = dx  source = dy   stride_h * stride_w residue classes
struct GatherProblem {
  Map source, target;
  bool backward = false;
  int kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0;
  int classes = 1;
  int channels = 1;  ///< source channels per tap, in k
  int columns = 1;   ///< target channels: rows of the packed weights
  int depth = 1;     ///< elements of a row of the packed weights, most of all classes
  bool relu = false;
  bool pooled = false;  ///< forward: `target` is the map after 2x2 max pooling
  int out_h = 0, out_w = 0;

  __host__ __device__ GatherAxis vertical(int cls) const {
    return backward ? GatherAxis::backward(target.height, kernel_h, stride_h, pad_h, cls / stride_w)
                    : GatherAxis::forward(out_h, kernel_h, stride_h, pad_h);
  }
  __host__ __device__ GatherAxis horizontal(int cls) const {
    return backward ? GatherAxis::backward(target.width, kernel_w, stride_w, pad_w, cls % stride_w)
                    : GatherAxis::forward(out_w, kernel_w, stride_w, pad_w);
  }
};

/// A row of the product: where its pixel lies. `position` p, q counts within the class.
struct GatherRow {
  int image = 0, p = 0, q = 0;
  bool inside = false;
  int64_t target = 0;  ///< offset of channel 0's part
};

/// Row m of class (vertical, horizontal). For pooling, rows come in windows of four: m = 4 * window
/// + 2 * (row in the window) + column in the window, so that a tile holds whole windows.
__device__ inline GatherRow gather_row(const GatherProblem& problem, const GatherAxis& vertical,
                                       const GatherAxis& horizontal, int m) {
  const Map& to = problem.target;
  const int window = m & 3;
  const int cell = problem.pooled ? m >> 2 : m;
  const int height = problem.pooled ? to.height : vertical.count;
  const int width = problem.pooled ? to.width : horizontal.count;
  const int line = cell / width, q = cell - line * width;
  GatherRow row;
  row.image = line / height;
  row.p = line - row.image * height;
  row.q = q;
  row.inside = row.image < to.images;
  row.target = row.image * to.image + to.pixel(vertical.first + row.p * vertical.spacing,
                                               horizontal.first + row.q * horizontal.spacing);
  if (problem.pooled) {
    row.p = 2 * row.p + (window >> 1);
    row.q = 2 * row.q + (window & 1);
    row.inside = row.inside && row.p < vertical.count && row.q < horizontal.count;
  }
  return row;
}

/// Rows of the product of one class; of the largest one for cls = 0.
inline int64_t gather_rows(const GatherProblem& problem) {
  if (problem.pooled)
    return 4 * int64_t{problem.target.images} * problem.target.height * problem.target.width;
  return int64_t{problem.target.images} * problem.vertical(0).count * problem.horizontal(0).count;
}

/// `chunk` elements are loaded together: 16 bytes.
inline GatherProblem gather_problem(const Conv2dParams& p, bool backward, int chunk) {
  GatherProblem g;
  const MapLayout source = backward ? p.output() : p.input;
  const MapLayout target = backward ? p.input : p.output();
  g.source = Map(source);
  g.target = Map(target);
  g.backward = backward;
  g.kernel_h = p.kernel_h, g.kernel_w = p.kernel_w;
  g.stride_h = p.stride_h, g.stride_w = p.stride_w;
  g.pad_h = p.pad_h, g.pad_w = p.pad_w;
  g.classes = backward ? p.stride_h * p.stride_w : 1;
  // Whole chunks of channels where the layout has them: then a chunk never crosses a tap.
  g.channels = source.block % chunk == 0 ? g.source.stored : g.source.channels;
  g.columns = g.target.channels;
  const int taps = backward ? ceil_div(p.kernel_h, p.stride_h) * ceil_div(p.kernel_w, p.stride_w)
                            : p.kernel_h * p.kernel_w;
  g.depth = ceil_div(taps * g.channels, chunk) * chunk;
  g.relu = p.relu && !backward;
  g.out_h = static_cast<int>(p.out_h());
  g.out_w = static_cast<int>(p.out_w());
  return g;
}

/// Position in k = (tap row a, tap column b, channel c), moved forward without divisions.
struct TapWalk {
  int c = 0, a = 0, b = 0;
  int channels, taps_w;

  __device__ TapWalk(int channels_, int taps_w_, int start) : channels(channels_), taps_w(taps_w_) {
    advance(start);
  }
  __device__ void advance(int by) {
    c += by;
    while (c >= channels) {
      c -= channels;
      if (++b >= taps_w) {
        b = 0;
        ++a;
      }
    }
  }
};

/// The weights gradient as a matrix product: rows are output channels o, columns are k = (u, v, c),
/// the sum runs over the pixels of y. Pixels are cut into `splits` ranges of `range` pixels.
struct WeightsProblem {
  Map x, dy;
  int kernel_w = 1, stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0;
  int channels = 1;  ///< input channels per tap, in k
  int columns = 1;   ///< taps * channels
  int pixels = 0, range = 1, splits = 1;
  FastDivide by_width, by_plane;  ///< of y
};

/// The number of ranges depends on the shape only: about two blocks for each multiprocessor of a
/// large GPU, and enough pixels in each to be worth the later addition.
inline WeightsProblem weights_problem(const Conv2dParams& p, int chunk) {
  constexpr int64_t kBlocks = 264, kTile = 128, kLeastPixels = 128, kRound = 32;
  WeightsProblem w;
  w.x = Map(p.input);
  w.dy = Map(p.output());
  w.kernel_w = p.kernel_w;
  w.stride_h = p.stride_h, w.stride_w = p.stride_w;
  w.pad_h = p.pad_h, w.pad_w = p.pad_w;
  w.channels = w.x.block % chunk == 0 ? w.x.stored : w.x.channels;
  w.columns = p.kernel_h * p.kernel_w * w.channels;
  const int64_t pixels = p.input.n * p.out_h() * p.out_w();
  const int64_t tiles = ceil_div(p.out_channels, kTile) * ceil_div(int64_t{w.columns}, kTile);
  const int64_t wanted =
      std::clamp<int64_t>(kBlocks / tiles, 1, std::max<int64_t>(1, pixels / kLeastPixels));
  const int64_t range = std::max(kRound, ceil_div(ceil_div(pixels, wanted), kRound) * kRound);
  w.pixels = static_cast<int>(pixels);
  w.range = static_cast<int>(range);
  w.splits = static_cast<int>(std::max<int64_t>(1, ceil_div(pixels, range)));
  w.by_width = FastDivide(std::max<int64_t>(1, p.out_w()));
  w.by_plane = FastDivide(std::max<int64_t>(1, p.out_h() * p.out_w()));
  return w;
}

}  // namespace frcnn::kernels::gpu::conv
