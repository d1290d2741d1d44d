#include "model/option_rows.h"

namespace frcnn {

using namespace option_table;

namespace {

Rows init_rows(const std::string& section, FieldOf<std::string> method, FieldOf<double> scale,
               const std::string& what, const std::string& source) {
  return {
      row(section + ".method", method, Choices{"gauss", "xavier", "he", "uniform"},
          "initialiser of " + what, source),
      row(section + ".scale", scale, kPositive, "",
          "gauss: standard deviation; uniform: half width; xavier and he do not use it", source)};
}
// FIELD of both members of an InitConfig.
#define INIT_FIELDS(member) FIELD(member.method), FIELD(member.scale)

Rows preprocess_rows() {
  return {
      row("preprocess.channels", FIELD(model.preprocess.channels), Choices{"bgr", "rgb"},
          "order of the colour channels the weights expect", "original code (Caffe)"),
      row("preprocess.scale", FIELD(model.preprocess.scale), kPositive, "",
          "pixel values 0 to 255 are multiplied by this first"),
      with_length(row("preprocess.mean", FIELD(model.preprocess.mean), kAny, "",
                      "subtracted from each channel, in channel order", "original code"),
                  3),
      with_length(row("preprocess.stddev", FIELD(model.preprocess.stddev), kPositive, "",
                      "each channel is divided by this last"),
                  3),
      row("preprocess.shorter_side", FIELD(model.preprocess.shorter_side), kCount, "pixels",
          "the picture's shorter side is scaled to this", "section 3.3"),
      row("preprocess.longer_side", FIELD(model.preprocess.longer_side), kCount, "pixels",
          "unless the longer side would pass this", "original code"),
      maybe_empty(
          row("preprocess.train_shorter_sides", FIELD(model.preprocess.train_shorter_sides), kCount,
              "pixels",
              "multi-scale training: each picture's shorter side is one of these, drawn anew "
              "each epoch; []: always shorter_side",
              "Fast R-CNN, section 5.2")),
      row("preprocess.keep_aspect", FIELD(model.preprocess.keep_aspect),
          "false: the shorter side becomes shorter_side and the longer one longer_side, whatever "
          "the picture's shape was",
          "section 3.3"),
      row("preprocess.rounding", FIELD(model.preprocess.rounding), Choices{"nearest", "floor"},
          "how the scaled size becomes whole; floor as torchvision"),
      row("preprocess.pad_multiple", FIELD(model.preprocess.pad_multiple), Range{1, 1024}, "pixels",
          "zero rows and columns are added to reach a multiple of this"),
  };
}

Rows backbone_rows() {
  Rows rows = {
      row("backbone.name", FIELD(model.backbone.name),
          Choices{"vgg16", "zf", "alexnet", "resnet18_v2", "tiny", "onnx"},
          "network that computes the feature map; onnx: your own (docs/backbones.md)",
          "section 3.1"),
      row("backbone.onnx", FIELD(model.backbone.onnx),
          "onnx: file with the network and its weights, needed to begin a training only"),
      row("backbone.cut", FIELD(model.backbone.cut),
          "onnx: name of the node or output whose map is used; \"\" the last of stride 16, or "
          "else 32"),
      row("backbone.weights", FIELD(model.backbone.weights),
          "file of weights in any format (docs/importing.md): its backbone, and fc6, fc7 where "
          "they "
          "fit, are loaded before training; \"\" none",
          "section 3.1.3"),
      row("backbone.weights_preprocess", FIELD(model.backbone.weights_preprocess),
          Choices{"same", "any"},
          "same: backbone.weights must have been trained with pictures as [preprocess] makes them; "
          "any: the difference is meant"),
      row("backbone.frozen_until", FIELD(model.backbone.frozen_until),
          "this layer and all before it are not trained; \"\" all are, \"*\" none is",
          "original code"),
      row("backbone.tiny_channels", FIELD(model.backbone.tiny_channels), Range{1, 65536}, "",
          "tiny: output channels of each 3x3 convolution"),
      row("backbone.tiny_strides", FIELD(model.backbone.tiny_strides), Range{1, 4}, "",
          "tiny: stride of each 3x3 convolution"),
      row("backbone.batch_norm", FIELD(model.backbone.batch_norm),
          "tiny: batch norm after each convolution"),
      row("backbone.batch_norm_mode", FIELD(model.backbone.batch_norm_mode),
          Choices{"train", "frozen"}, "train: statistics of the batch; frozen: the stored ones"),
      row("backbone.ceil_mode", FIELD(model.backbone.ceil_mode),
          "pooled sizes are rounded up, as Caffe does, instead of down"),
  };
  append(rows, init_rows("backbone.init", INIT_FIELDS(model.backbone.init),
                         "a backbone without weights", ""));
  return rows;
}

Rows anchor_rows() {
  return {
      row("anchors.sizes", FIELD(model.anchors.sizes), kPositive, "",
          "square roots of the anchors' areas, in anchors.unit", "section 3.3"),
      row("anchors.ratios", FIELD(model.anchors.ratios), kPositive, "", "height over width",
          "section 3.3"),
      row("anchors.unit", FIELD(model.anchors.unit), Choices{"pixels", "image", "stride"},
          "of anchors.sizes. pixels: of the scaled picture; image: the height of the network's "
          "input; stride: the side of a square as large as a cell of the map",
          "section 3.3"),
      row("anchors.combine", FIELD(model.anchors.combine), Choices{"all", "first"},
          "all: every size with every ratio; first: every size with the first ratio, and the first "
          "size with every ratio",
          "section 3.1.1"),
      row("anchors.rounding", FIELD(model.anchors.rounding),
          Choices{"paper", "torchvision", "none"},
          "paper: rounded as the original code does; torchvision: half extents rounded; none: "
          "exact",
          "original code"),
      row("anchors.centre", FIELD(model.anchors.centre), Choices{"cell", "corner"},
          "cell: (i + 0.5) * stride; corner: i * stride, as torchvision", "original code"),
      row("anchors.stride_rule", FIELD(model.anchors.stride_rule),
          Choices{"nominal", "map", "exact"},
          "nominal: the backbone's stride; map: picture size divided by map size, rounded down "
          "(torchvision; the RoI layer keeps the backbone's); exact: the same as a fraction"),
  };
}

Rows proposal_rows(const std::string& section, FieldOf<int> pre, FieldOf<int> post,
                   FieldOf<double> iou, FieldOf<double> min_size, const std::string& when) {
  return {
      row(section + ".pre_nms", pre, kCount, "boxes",
          "best scored boxes of a picture that enter NMS " + when, "original code"),
      row(section + ".post_nms", post, kCount, "boxes", "proposals of a picture kept " + when,
          "section 3.3, original code"),
      row(section + ".nms_iou", iou, kFraction, "IoU",
          "a box is dropped when it overlaps a better one by more", "section 3.3"),
      row(section + ".min_size", min_size, kNotNegative, "pixels",
          "boxes with a shorter side, in pixels of the original picture, are dropped",
          "original code"),
  };
}
#define PROPOSAL_FIELDS(member) \
  FIELD(member.pre_nms), FIELD(member.post_nms), FIELD(member.nms_iou), FIELD(member.min_size)

Rows rpn_rows() {
  Rows rows = {
      row("rpn.window", FIELD(model.rpn.window), Range{1, 15}, "cells",
          "n, side of the sliding window (odd)", "section 3.1"),
      row("rpn.channels", FIELD(model.rpn.channels), Range{0, 65536}, "",
          "output channels of the window convolution; 0: the backbone's own, 512 for vgg16, 256 "
          "for zf",
          "section 3.1"),
      row("rpn.objectness", FIELD(model.rpn.objectness), Choices{"softmax", "sigmoid"},
          "softmax: two scores per anchor; sigmoid: one", "section 3.1"),
      row("rpn.positive_iou", FIELD(model.rpn.positive_iou), kFraction, "IoU",
          "anchors that overlap an object by at least this are positive", "section 3.1.2"),
      row("rpn.negative_iou", FIELD(model.rpn.negative_iou), kFraction, "IoU",
          "anchors that overlap every object by less are negative", "section 3.1.2"),
      row("rpn.match_best", FIELD(model.rpn.match_best),
          "the best anchors of every object are positive, ties included", "section 3.1.2"),
      row("rpn.only_inside", FIELD(model.rpn.only_inside),
          "anchors that cross the picture's border are ignored in training", "section 3.3"),
      row("rpn.batch", FIELD(model.rpn.batch), kCount, "anchors", "sampled anchors per picture",
          "section 3.1.3"),
      row("rpn.positive_fraction", FIELD(model.rpn.positive_fraction), kFraction, "",
          "largest share of positives among them", "section 3.1.3"),
      row("rpn.tiles", FIELD(model.rpn.tiles),
          "train.scheme \"rpn_only\": the RPN runs on the windows of the sampled cells alone; the "
          "same losses and gradients with less work on a large map"),
      row("rpn.class_loss", FIELD(model.rpn.class_loss), Choices{"cross_entropy", "focal"},
          "loss of the objectness, softmax or sigmoid", "section 3.1.2"),
      row("rpn.focal_alpha", FIELD(model.rpn.focal_alpha), Range{-1, 1}, "",
          "focal: weight of objects, background has 1 minus it; below 0: both 1",
          "Lin et al., 2017"),
      row("rpn.focal_gamma", FIELD(model.rpn.focal_gamma), Range{0, 10}, "",
          "focal: exponent of 1 minus the probability of the true class", "Lin et al., 2017"),
      row("rpn.box_loss", FIELD(model.rpn.box_loss), Choices{"smooth_l1", "l1", "mse", "giou"},
          "loss of the box deltas of positive anchors; giou: 1 - GIoU of the boxes they decode to",
          "section 3.1.2"),
      row("rpn.sigma", FIELD(model.rpn.sigma), kPositive, "",
          "smooth-L1 turns linear at 1 / sigma^2", "original code"),
      row("rpn.normaliser", FIELD(model.rpn.normaliser), Choices{"batch", "paper", "positives"},
          "batch: both losses divided by the sampled anchors; paper: N_cls = batch, N_reg = "
          "positions of the map; positives: both divided by the sampled positive anchors",
          "section 3.1.2, original code"),
      row("rpn.size_filter", FIELD(model.rpn.size_filter), Choices{"before", "after"},
          "small boxes are dropped before or after the best pre_nms are taken", "original code"),
      row("rpn.lambda", FIELD(model.rpn.lambda), kNotNegative, "",
          "weight of the box loss (10 with normaliser \"paper\")", "section 3.1.2"),
  };
  append(rows,
         init_rows("rpn.init", INIT_FIELDS(model.rpn.init), "the RPN's layers", "section 3.1.3"));
  append(rows, proposal_rows("rpn.train", PROPOSAL_FIELDS(model.rpn.train), "in training"));
  append(rows, proposal_rows("rpn.test", PROPOSAL_FIELDS(model.rpn.test), "in detection"));
  return rows;
}

Rows roi_rows() {
  Rows rows = {
      row("roi.layer", FIELD(model.roi.layer),
          Choices{"roi_pool", "roi_align", "roi_align_legacy", "precise_roi"},
          "roi_pool: max over rounded bins; roi_align: bilinear samples, half-pixel coordinates; "
          "roi_align_legacy: without the half pixel; precise_roi: exact mean of the interpolated "
          "map",
          "Fast R-CNN"),
      row("roi.pooled_height", FIELD(model.roi.pooled_height), Range{1, 64}, "cells",
          "rows of the pooled map (7 for VGG16, 6 for ZF)", "Fast R-CNN"),
      row("roi.pooled_width", FIELD(model.roi.pooled_width), Range{1, 64}, "cells",
          "columns of the pooled map", "Fast R-CNN"),
      row("roi.sampling_ratio", FIELD(model.roi.sampling_ratio), Range{0, 16}, "samples",
          "RoIAlign samples per bin side; 0: the bin's size rounded up"),
      row("roi.hidden", FIELD(model.roi.hidden), Range{1, 1048576}, "",
          "outputs of each hidden dense layer", "VGG16, ZF"),
      row("roi.dropout", FIELD(model.roi.dropout), Range{0, 0.99}, "",
          "share of outputs zeroed after each hidden layer in training", "original code"),
      row("roi.class_agnostic", FIELD(model.roi.class_agnostic),
          "four box outputs for all classes together instead of four per class"),
      row("roi.batch", FIELD(model.roi.batch), kCount, "RoIs", "sampled RoIs per picture",
          "original code"),
      row("roi.foreground_fraction", FIELD(model.roi.foreground_fraction), kFraction, "",
          "largest share of foreground among them", "Fast R-CNN"),
      row("roi.foreground_iou", FIELD(model.roi.foreground_iou), kFraction, "IoU",
          "RoIs that overlap an object by at least this are foreground", "Fast R-CNN"),
      row("roi.background_high", FIELD(model.roi.background_high), kFraction, "IoU",
          "RoIs whose best overlap is below this ...", "Fast R-CNN"),
      row("roi.background_low", FIELD(model.roi.background_low), kFraction, "IoU",
          "... and at least this are background (0.1 in Fast R-CNN)", "original code"),
      row("roi.append_ground_truth", FIELD(model.roi.append_ground_truth),
          "the objects' own boxes join the RoIs in training", "original code"),
      with_length(row("roi.box_std", FIELD(model.roi.box_std), kPositive, "",
                      "box targets are divided by these (dx, dy, dw, dh)", "original code"),
                  4),
      with_length(row("roi.box_mean", FIELD(model.roi.box_mean), kAny, "",
                      "subtracted from the box targets first", "original code"),
                  4),
      row("roi.class_loss", FIELD(model.roi.class_loss),
          Choices{"cross_entropy", "sigmoid", "focal"},
          "cross_entropy: softmax over classes and background; sigmoid: one-vs-all, and scores are "
          "sigmoids; focal: of the softmax",
          "Fast R-CNN"),
      row("roi.focal_alpha", FIELD(model.roi.focal_alpha), Range{-1, 1}, "",
          "focal: weight of objects, background has 1 minus it; below 0: both 1",
          "Lin et al., 2017"),
      row("roi.focal_gamma", FIELD(model.roi.focal_gamma), Range{0, 10}, "",
          "focal: exponent of 1 minus the probability of the true class", "Lin et al., 2017"),
      row("roi.box_loss", FIELD(model.roi.box_loss), Choices{"smooth_l1", "l1", "mse", "giou"},
          "loss of the box deltas of foreground RoIs; giou: 1 - GIoU of the boxes they decode to",
          "Fast R-CNN"),
      row("roi.sigma", FIELD(model.roi.sigma), kPositive, "",
          "smooth-L1 turns linear at 1 / sigma^2", "original code"),
      row("roi.normaliser", FIELD(model.roi.normaliser), Choices{"batch", "positives"},
          "both losses divided by the sampled RoIs, or by the foreground among them", "Fast R-CNN"),
      row("roi.lambda", FIELD(model.roi.lambda), kNotNegative, "", "weight of the box loss",
          "Fast R-CNN"),
  };
  append(rows, init_rows("roi.init", INIT_FIELDS(model.roi.init),
                         "class scores and new hidden layers", "Fast R-CNN"));
  append(rows, init_rows("roi.box_init", INIT_FIELDS(model.roi.box_init), "the box regressor",
                         "Fast R-CNN"));
  return rows;
}

Rows test_rows() {
  return {
      row("test.score", FIELD(model.test.score), kFraction, "",
          "detections with a lower score are dropped", "original code"),
      row("test.nms_iou", FIELD(model.test.nms_iou), kFraction, "IoU",
          "of one class, a detection that overlaps a better one by more is dropped",
          "original code"),
      row("test.max_detections", FIELD(model.test.max_detections), kCount, "boxes",
          "detections kept per picture", "original code"),
      row("test.min_size", FIELD(model.test.min_size), kNotNegative, "pixels",
          "detections with a shorter side, in pixels of the original picture, are dropped"),
  };
}

Rows train_rows() {
  return {
      row("train.scheme", FIELD(train.scheme),
          Choices{"approximate_joint", "non_approximate_joint", "alternating", "rpn_only",
                  "detector_only"},
          "what is trained in which order (docs/training.md)", "section 3.2"),
      maybe_empty(row("train.stage_steps", FIELD(train.stage_steps), kCount, "steps",
                      "alternating: updates of its four steps; []: train.steps or train.epochs "
                      "divided 2:1:2:1",
                      "original code (80k, 40k, 80k, 40k)")),
      maybe_empty(row("train.stage_backbone_lr", FIELD(train.stage_backbone_lr), kNotNegative, "",
                      "alternating: learning rate of the backbone in steps 1 and 2; []: as "
                      "[optimizer] says")),
      row("train.proposal_gradient", FIELD(train.proposal_gradient), Range{0, 1e3}, "",
          "non_approximate_joint: factor of the gradients that reach the RPN through the "
          "proposals' coordinates; 1: the derivative itself, 0: as approximate_joint; the default "
          "makes up for roi.box_std (docs/training.md)"),
      row("train.steps", FIELD(train.steps), Range{0, 1e12}, "steps",
          "updates of the weights; not used when train.epochs is above 0", "section 3.1.3"),
      row("train.epochs", FIELD(train.epochs), kNotNegative, "epochs",
          "passes over the training pictures; 0: train.steps counts"),
      row("train.batch", FIELD(train.batch), Range{1, 4096}, "pictures",
          "pictures per forward pass", "section 3.1.3"),
      row("train.iter_size", FIELD(train.iter_size), Range{1, 4096}, "passes",
          "forward passes whose gradients are averaged for one step", "original code"),
      row("train.seed", FIELD(train.seed), Range{0, 9.2e18}, "",
          "every random number of the run depends on this alone"),
      row("train.ema", FIELD(train.ema), Range{0, 0.9999999}, "",
          "decay of a moving average of the weights, which detects and is validated in their "
          "place; "
          "0: none"),
      row("train.precision", FIELD(train.precision), Choices{"f32", "tf32", "bf16"},
          "factors of convolutions and dense layers in training passes; sums and weights stay f32 "
          "(on a CPU an emulation that is not faster); --gpu-math goes before it"),
      row("train.log_every", FIELD(train.log_every), kCount, "steps",
          "a line is printed and logged"),
      row("train.checkpoint_every", FIELD(train.checkpoint_every), kCount, "steps",
          "a checkpoint is written"),
      row("train.keep_checkpoints", FIELD(train.keep_checkpoints), Range{1, 1000}, "files",
          "older checkpoints are removed"),
      row("train.validate_every", FIELD(train.validate_every), kNotNegative, "epochs",
          "mAP on the validation split is measured; 0: at the end only"),
      row("train.validation_loss", FIELD(train.validation_loss),
          "a validation computes the losses of its pictures, too, which takes it about twice the "
          "time"),
  };
}

Rows data_rows() {
  return {
      row("data.format", FIELD(data.format), Choices{"auto", "voc", "coco", "yolo", "csv"},
          "layout of the data set (docs/data.md); auto: recognised"),
      row("data.train_split", FIELD(data.train_split),
          "split of the training pictures, of VOC ImageSets/Main/<name>.txt; all: every picture; "
          "of several data sets one for all, or one each with commas between",
          "section 4.1"),
      row("data.val_split", FIELD(data.val_split), "list of validation pictures; \"\" none",
          "section 4.1"),
      row("data.proposals", FIELD(data.proposals),
          "detector_only: file of `frcnn propose` with the RoIs of the training pictures"),
      row("data.val_proposals", FIELD(data.val_proposals),
          "detector_only: the same of the validation pictures; \"\": no validation"),
      maybe_empty(row("data.classes", FIELD(data.classes), kAny, "",
                      "names of the classes in order, background not included; objects of "
                      "others are left out; []: all names found")),
      row("data.class_map", FIELD(data.class_map),
          "classes that get another name while reading, before data.classes is looked at: "
          "{\"van\" = \"car\", \"motorbike\" = \"motorcycle\"}"),
      row("data.pictures", FIELD(data.pictures),
          "coco: folder that the pictures' file_name counts from; \"\": looked for beside the "
          "annotations"),
      row("data.flip", FIELD(data.flip), "a random half of the pictures is mirrored in training",
          "original code"),
      row("data.group_shapes", FIELD(data.group_shapes),
          "batches hold wide pictures or tall ones alone, so that they pass together; with "
          "train.batch above 1"),
      row("data.balance", FIELD(data.balance), kFraction, "share of pictures",
          "pictures with a class that fewer pictures than this share f have are seen up to "
          "sqrt(balance / f) times as often; 0: all equally often",
          "LVIS, section 4.1"),
      row("data.use_difficult", FIELD(data.use_difficult),
          "objects marked difficult are training targets too", "original code"),
      row("data.coordinates", FIELD(data.coordinates), Range{-1, 2}, "",
          "annotations count pixels from 0 or 1, or give edges (2); -1: found out and stated",
          "PASCAL VOC"),
      row("data.workers", FIELD(data.workers), Range{1, 256}, "threads",
          "threads that read and decode pictures"),
      row("data.prefetch", FIELD(data.prefetch), Range{1, 1024}, "batches",
          "batches decoded ahead of the training"),
  };
}

Rows augment_rows() {
  return {
      row("data.augment.brightness", FIELD(data.augment.brightness), kFraction, "",
          "all values of a picture are multiplied by a factor from 1 - x to 1 + x"),
      row("data.augment.contrast", FIELD(data.augment.contrast), kFraction, "",
          "differences from the mean gray are multiplied by a factor from 1 - x to 1 + x"),
      row("data.augment.saturation", FIELD(data.augment.saturation), kFraction, "",
          "differences from each pixel's gray are multiplied by a factor from 1 - x to 1 + x"),
      row("data.augment.hue", FIELD(data.augment.hue), Range{0, 0.5}, "turns",
          "hues are turned by up to x"),
      row("data.augment.crop", FIELD(data.augment.crop), kFraction, "share of pictures",
          "a random part of the picture with an object in it takes its place", "SSD, section 2.2"),
      row("data.augment.crop_min_area", FIELD(data.augment.crop_min_area), Range{0.01, 1}, "share",
          "of the picture's area that such a part has at least", "SSD, section 2.2"),
      maybe_empty(row("data.augment.crop_min_iou", FIELD(data.augment.crop_min_iou), kFraction, "",
                      "some object has at least one of these IoUs with the part, drawn anew each "
                      "time; []: any that has its centre in it",
                      "SSD, section 2.2")),
      row("data.augment.rotate", FIELD(data.augment.rotate), kFraction, "share of pictures",
          "turned by 90, 180 or 270 degrees"),
      row("data.augment.mosaic", FIELD(data.augment.mosaic), kFraction, "share of pictures",
          "put together with three others that are drawn from the split", "YOLOv4"),
  };
}

}  // namespace

const std::vector<OptionRow>& option_rows() {
  static const Rows rows = [] {
    Rows all = preprocess_rows();
    for (const auto& make : {backbone_rows, anchor_rows, rpn_rows, roi_rows, test_rows,
                             optimizer_rows, train_rows, data_rows, augment_rows})
      append(all, make());
    return all;
  }();
  return rows;
}

}  // namespace frcnn
