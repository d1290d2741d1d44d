#include <algorithm>

#include "kernels/launch/check.h"
#include "model/graph/network.h"

namespace frcnn {
namespace {

/// One axis of a window.
struct Axis {
  int64_t kernel, stride, dilation;
  int64_t extent() const { return (kernel - 1) * dilation + 1; }
};

/// SAME padding along one axis: (before, after).
std::pair<int64_t, int64_t> same_padding(const Axis& axis, int64_t size, bool upper) {
  const int64_t out = (size + axis.stride - 1) / axis.stride;
  const int64_t total = std::max<int64_t>(0, (out - 1) * axis.stride + axis.extent() - size);
  const int64_t less = total / 2;
  return upper ? std::pair(less, total - less) : std::pair(total - less, less);
}

/// Size of the result along one axis. In ceil mode a window that would begin in the padding behind
/// the map is left out.
int64_t size_along(const Axis& axis, int64_t size, int64_t before, int64_t after, bool ceil) {
  const int64_t span = size + before + after - axis.extent();
  if (span < 0) return 0;
  int64_t out = (span + (ceil ? axis.stride - 1 : 0)) / axis.stride + 1;
  if (ceil && (out - 1) * axis.stride >= size + before) --out;
  return out;
}

}  // namespace

Padding NetworkWindow::padding_for(int64_t h, int64_t w) const {
  if (rule == Rule::given) return padding;
  const bool upper = rule == Rule::same_upper;
  const auto [top, bottom] = same_padding({kernel_h, stride_h, dilation_h}, h, upper);
  const auto [left, right] = same_padding({kernel_w, stride_w, dilation_w}, w, upper);
  return {top, left, bottom, right};
}

std::array<int64_t, 2> NetworkWindow::size_after(int64_t h, int64_t w) const {
  const Padding p = padding_for(h, w);
  return {size_along({kernel_h, stride_h, dilation_h}, h, p.top, p.bottom, ceil_mode),
          size_along({kernel_w, stride_w, dilation_w}, w, p.left, p.right, ceil_mode)};
}

std::vector<std::array<int64_t, 2>> Network::sizes(int64_t h, int64_t w) const {
  constexpr int64_t one = 1;
  std::vector<std::array<int64_t, 2>> sizes = {{h, w}};
  for (const NetworkNode& node : nodes) {
    std::array<int64_t, 2> size = sizes[static_cast<size_t>(node.inputs[0])];
    switch (node.op) {
      case NetworkOp::conv:
      case NetworkOp::max_pool:
      case NetworkOp::average_pool:
        size = node.window.size_after(size[0], size[1]);
        break;
      case NetworkOp::pad:
        size[0] += node.window.padding.top + node.window.padding.bottom;
        size[1] += node.window.padding.left + node.window.padding.right;
        break;
      case NetworkOp::global_average:
      case NetworkOp::linear:
      case NetworkOp::flatten:
        size = {1, 1};
        break;
      case NetworkOp::reshape:
        size = {1, 1};
        if (node.shape.size() == 3) size = {node.shape[1], node.shape[2]};
        break;
      default:
        for (const int input : node.inputs) {
          const std::array<int64_t, 2> other = sizes[static_cast<size_t>(input)];
          const bool spread = node.op != NetworkOp::concatenate && other == std::array{one, one};
          frcnn::check(
              other == size || spread,
              "node '{}' ({}): joins maps of {} x {} and {} x {} for a picture of {} x {}; "
              "preprocess.pad_multiple can make the sizes of pictures fit",
              node.name, name_of(node.op), size[0], size[1], other[0], other[1], h, w);
        }
    }
    frcnn::check(size[0] > 0 && size[1] > 0,
                 "node '{}' ({}): nothing is left of a picture of {} x {} pixels, which is too "
                 "small for this network",
                 node.name, name_of(node.op), h, w);
    sizes.push_back(size);
  }
  return sizes;
}

}  // namespace frcnn
