#include "model/roi_head.h"

#include "engine/ops/elementwise.h"
#include "engine/ops/pooling.h"
#include "model/initializers.h"

namespace frcnn {

RoiHead::RoiHead(const RoiConfig& config, int64_t in_channels, int64_t classes,
                 Parameters& parameters)
    : config_(config) {
  int64_t features = in_channels * config.pooled_height * config.pooled_width;
  for (size_t i = 0; i < config.hidden.size(); ++i) {
    hidden_.emplace_back(parameters, fmt::format("head.fc{}", 6 + i), features, config.hidden[i],
                         /*relu=*/true, make_initializer(config.init));
    features = config.hidden[i];
  }
  outputs_.emplace_back(parameters, "head.cls", features, classes + 1, false,
                        make_initializer(config.init));
  outputs_.emplace_back(parameters, "head.box", features,
                        config.class_agnostic ? 4 : 4 * (classes + 1), false,
                        make_initializer(config.box_init));
}

Tensor RoiHead::pool(const Tensor& map, const Tensor& rois, double stride_y,
                     double stride_x) const {
  if (config_.layer == "roi_pool")
    return roi_pool(map, rois,
                    {config_.pooled_height, config_.pooled_width, 1 / stride_y, 1 / stride_x});
  if (config_.layer == "precise_roi")
    return precise_roi(map, rois,
                       {config_.pooled_height, config_.pooled_width, 1 / stride_y, 1 / stride_x});
  check(config_.layer == "roi_align" || config_.layer == "roi_align_legacy",
        "roi.layer: expected \"roi_pool\", \"roi_align\", \"roi_align_legacy\" or "
        "\"precise_roi\", got \"{}\"",
        config_.layer);
  return roi_align(map, rois,
                   {config_.pooled_height, config_.pooled_width, 1 / stride_y, 1 / stride_x,
                    config_.sampling_ratio, config_.layer == "roi_align"});
}

RoiOutput RoiHead::forward(const Tensor& map, const Tensor& rois, double stride_y, double stride_x,
                           const StepKey* dropout_key) const {
  const Tensor pooled = pool(map, rois, stride_y, stride_x);
  Tensor x = reshape(pooled, {pooled.dim(0), pooled.dim(1) * pooled.dim(2) * pooled.dim(3)});
  for (size_t i = 0; i < hidden_.size(); ++i) {
    if (hidden_[i].reduced().active()) {
      const bool reads = i + 1 < hidden_.size() && hidden_[i + 1].reduced().active();
      x = hidden_[i].forward_reduced(x, reads ? &hidden_[i + 1].reduced() : nullptr);
      continue;
    }
    x = hidden_[i].forward(x);
    if (!dropout_key) continue;
    StepKey key = *dropout_key;
    key.key.stream += kernels::kStreamStride * static_cast<uint32_t>(i);
    x = dropout(x, config_.dropout, key);
  }
  return {outputs_[0].forward(x), outputs_[1].forward(x)};
}

}  // namespace frcnn
