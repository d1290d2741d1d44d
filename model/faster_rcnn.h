#pragma once

#include <memory>
#include <optional>

#include "kernels/boxes/anchors.h"
#include "model/backbone.h"
#include "model/gpu_pipeline.h"
#include "model/proposals.h"
#include "model/roi_head.h"
#include "model/rpn.h"
#include "model/targets.h"
#include "model/types.h"

namespace frcnn {

struct RpnTiles;

/// The four losses of a forward pass and their weighted sum, scalars. 0 where LossParts leaves a
/// part out.
struct Losses {
  Tensor rpn_class, rpn_box;  ///< L_cls and L_reg of the RPN (paper, equation 1)
  Tensor roi_class, roi_box;  ///< the same of the detection head (Fast R-CNN, equation 1)
  Tensor total;               ///< rpn_class + rpn.lambda rpn_box + roi_class + roi.lambda roi_box
};

/// What training sampled; can be given instead of sampling, to repeat a step exactly.
struct Samples {
  RpnTargets rpn;
  RoiTargets roi;
};

/// Which losses a training pass computes, and whether the detector's reach the RPN's boxes. The
/// defaults are approximate joint training.
struct LossParts {
  bool rpn = true;       ///< false: rpn_class and rpn_box are 0, and no anchors are sampled
  bool detector = true;  ///< false: roi_class and roi_box are 0, and nothing is proposed or pooled
  /// Non-approximate joint training (paper, section 3.2): the detector's losses flow through the
  /// coordinates of the sampled proposals into the RPN's box deltas. Needs a RoI layer that is
  /// differentiable in them: UsageError with roi.layer = "roi_pool".
  bool proposal_gradients = false;
  double proposal_factor = 1;  ///< of these gradients (train.proposal_gradient)
  /// The network as it detects: batch norms take their running statistics and leave them alone, and
  /// nothing is dropped. For losses of pictures that are not trained on.
  bool evaluation = false;
};

/// What the parts of the network gave on the way to an image's detections, on the host, so that an
/// explanation (model/explain.h) is of what happened and not of a second run.
struct InferenceRecord {
  RpnOutput rpn;
  Tensor anchors;  ///< (anchors, 4)
  Proposals proposals;
  Tensor rois;  ///< (R, 5)
  RoiOutput roi;
  std::vector<ScoredBox> detections;  ///< those of detect()
};

/// Names the random numbers of one training pass.
struct PassKey {
  uint64_t seed = 1;
  uint64_t pass = 0;  ///< counts forward passes of the run
  /// On a GPU the pass may lie in device memory (one i64), so that a recorded step can be replayed.
  Tensor pass_on_device = {};
};

/// What sizes of anchors may be relative to, in pixels of the network's input.
struct AnchorFrame {
  double input_h = 0;
  double stride_y = 0, stride_x = 0;
};
/// The settings of anchors as the kernels take them, sizes in pixels. anchors.unit = "stride" takes
/// the side of a square as large as a cell, sqrt(stride_y * stride_x); rounding "paper" then rounds
/// the shapes of that square instead of one of 16 pixels. Throws Error for a rule that does not
/// exist.
kernels::AnchorParams anchor_params(const AnchorConfig& config, const AnchorFrame& frame);

/// Faster R-CNN: one backbone shared by the RPN and the detection head.
class FasterRcnn {
 public:
  /// Makes the layers and fills the parameters from `seed`. float64 serves gradient checks. With
  /// `fill` false the parameters hold nothing useful until they are loaded.
  FasterRcnn(const ModelConfig& config, int64_t classes, uint64_t seed = 1,
             DType dtype = DType::f32, bool fill = true, Device device = {});

  /// Joint training (paper, section 3.2): both losses on one pass, or the parts of them that
  /// `parts` names; proposals are constants unless it says otherwise. With `samples` holding values
  /// they are used; otherwise it receives what was sampled. What a part needs alone may be missing
  /// there when the part is.
  ///
  /// The losses of a batch are the means of its images' (and so its gradients are): each image's
  /// sums are divided by its own samples. Images of different sizes pass one after the other
  /// (model/batch_parts.h); of those, `samples` may only give the detector's. Only batch norm that
  /// normalises with the batch's statistics sees other images, those of its run.
  ///
  /// On a GPU the samples stay on the device, roi.batch rows per image of which some may be unused,
  /// and `samples` may only hold values. Losses are of type f64 there.
  Losses losses(const ModelInput& input, const std::vector<GroundTruth>& truth, const PassKey& key,
                std::optional<Samples>* samples = nullptr, const LossParts& parts = {}) const;

  /// The same for images of one size that are on the device already, which is all that a recorded
  /// step may do: nothing in it waits for the host. limits: image_limits() with rpn.train.min_size.
  /// `regions`: given proposals instead of the RPN's.
  Losses gpu_losses(const Tensor& images, const Tensor& limits, const GpuTruth& truth,
                    const PassKey& key, const LossParts& parts = {},
                    const GpuProposals* regions = nullptr) const;
  /// detect() without the way back to the host. limits: with rpn.test.min_size and test.min_size.
  GpuDetections gpu_detect(const Tensor& images, const Tensor& proposal_limits,
                           const Tensor& detection_limits,
                           const GpuProposals* regions = nullptr) const;

  /// Detections per image, best first, in pixels of the network's input (test settings). On the CPU
  /// they are those of the images alone, bit for bit, because each passes alone; on a GPU images of
  /// one size pass together, and a kernel chosen for their number may have other last bits.
  std::vector<std::vector<ScoredBox>> detect(const ModelInput& input) const;

  /// detect() for one image with what its parts gave. The parts run on the model's device, the
  /// steps between them on the CPU, where detect() gives the same bits; on a GPU its boxes may
  /// differ in the last ones.
  InferenceRecord record(const ModelInput& input) const;

  /// What the RPN proposes per image, best first, in pixels of the network's input; scores are
  /// objectness as a probability. `training` chooses rpn.train or rpn.test.
  std::vector<std::vector<ScoredBox>> regions(const ModelInput& input, bool training) const;

  /// Parts of the network that are trained; the others keep their weights, and a backbone that is
  /// not trained keeps the running statistics of its batch norms, too.
  struct TrainedParts {
    bool backbone = true, rpn = true, detector = true;
  };
  /// Excludes parts from training; what backbone.frozen_until fixes stays fixed in any case.
  void train_only(const TrainedParts& parts);

  // The parts, for pictures, tests and other training schemes.
  Tensor features(const Tensor& images, bool training) const;
  RpnOutput rpn(const Tensor& map) const { return rpn_.forward(map); }
  /// Anchors of one image (map_h * map_w * A, 4) for a network input of that height and width.
  Tensor anchors(int64_t map_h, int64_t map_w, int64_t input_h, int64_t input_w) const;
  /// Pixels of the network's input per cell of the RPN's map, by anchors.stride_rule.
  struct Stride {
    double y = 16, x = 16;
  };
  Stride stride(int64_t map_h, int64_t map_w, int64_t input_h, int64_t input_w) const;
  /// The same for the RoI layer. With the rule "map", which rounds a map of 38 cells for 600 pixels
  /// down to a stride of 15, torchvision's RoI layer keeps the backbone's 16, and so does this.
  Stride roi_stride(int64_t map_h, int64_t map_w, int64_t input_h, int64_t input_w) const;
  Proposals propose(const RpnOutput& output, const Tensor& anchors,
                    const std::vector<InputSize>& sizes, bool training) const;
  const RoiHead& head() const { return head_; }

  Parameters& parameters() { return *parameters_; }
  const Parameters& parameters() const { return *parameters_; }
  const ModelConfig& config() const { return config_; }
  const BackboneSpec& backbone_spec() const { return backbone_.spec(); }
  int64_t classes() const { return classes_; }
  int64_t anchors_per_cell() const;
  Device device() const { return parameters_->device(); }
  /// Changes score threshold, NMS limit and number of detections.
  void set_test(const TestConfig& test);

 private:
  struct AnchorCache;
  struct Drawn;
  struct Passed;
  struct Recorded;
  Passed forward(const Tensor& images, const LossParts& parts, bool proposals) const;
  std::vector<std::vector<ScoredBox>> detect_on_gpu(const ModelInput& input) const;
  Losses combine(const Passed& passed, const Drawn& drawn, const PassKey& key,
                 const LossParts& parts) const;
  Losses losses_of_run(const ModelInput& input, const std::vector<GroundTruth>& truth,
                       const PassKey& key, std::optional<Samples>* samples,
                       const LossParts& parts) const;
  std::vector<std::vector<ScoredBox>> detect_image(const ModelInput& input,
                                                   InferenceRecord* record = nullptr) const;
  void check_parts(const LossParts& parts) const;
  /// Whether the RPN runs on the sampled cells alone: where nothing else needs its outputs.
  bool on_tiles(const LossParts& parts) const {
    return config_.rpn.tiles && parts.rpn && !parts.detector;
  }
  void pass_tiles(const RpnTiles& tiles, Passed& passed, Drawn& drawn) const;

  ModelConfig config_;
  int64_t classes_;
  std::unique_ptr<Parameters> parameters_;
  Backbone backbone_;
  Rpn rpn_;
  RoiHead head_;
  bool backbone_fixed_ = false;
  std::shared_ptr<AnchorCache> anchor_cache_;
  std::shared_ptr<Recorded> recorded_;  // inferences on a GPU
};

}  // namespace frcnn
