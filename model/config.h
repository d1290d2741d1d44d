#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace frcnn {

struct Network;

// Every setting of a run as plain data. model/options.h holds the one table that names each field's
// key, range, unit, help and source; the parser, --help, the saved config and the docs come from
// it. Defaults are the paper-faithful run (Ren et al., arXiv 1506.01497 and its original code).

/// How an image becomes the network's input. Travels with the weights into checkpoints.
struct PreprocessConfig {
  std::string channels = "bgr";                               // "bgr" | "rgb"
  double scale = 1.0;                                         // pixel value 0..255 times this, then
  std::vector<double> mean = {102.9801, 115.9465, 122.7717};  // minus mean, in channel order, then
  std::vector<double> stddev = {1, 1, 1};                     // divided by stddev
  int shorter_side = 600;                                     // target of the shorter side, pixels
  int longer_side = 1000;                                     // upper limit of the longer side
  std::string rounding = "nearest";  // of the resized size: "nearest" | "floor" (torchvision)
  int pad_multiple = 1;              // zero rows and columns are added to reach a multiple of this
  bool keep_aspect = true;           // false: both sides are stretched to the two sizes
  std::vector<int> train_shorter_sides = {};  // multi-scale training; empty: shorter_side
};

struct InitConfig {
  std::string method = "gauss";  // "gauss" | "xavier" | "he" | "uniform"
  double scale = 0.01;           // gauss: standard deviation; uniform: half width; others: unused
};

struct BackboneConfig {
  std::string name = "vgg16";  // "vgg16" | "zf" | "alexnet" | "tiny" | "onnx"
  std::string onnx;            // onnx: the file
  std::string cut;             // onnx: node or output that is the map; "" the default choice
  // onnx: the network itself where it is known already, as from a checkpoint; no option
  std::shared_ptr<const Network> network = nullptr;
  std::string weights;  // file whose backbone, fc6, fc7 are loaded before training; "" none
  std::string weights_preprocess = "same";  // "same": pictures as weights expect them | "any"
  std::string frozen_until = "conv2_2";     // this layer and all before it are not trained; "" none
  InitConfig init = {"he", 0.01};
  std::vector<int> tiny_channels = {24, 32, 64, 64, 128, 128, 128};  // tiny: 3x3 conv widths
  std::vector<int> tiny_strides = {2, 1, 2, 1, 2, 1, 1};
  bool batch_norm = true;                 // tiny: batch norm after each convolution
  std::string batch_norm_mode = "train";  // "train" | "frozen"
  bool ceil_mode = false;  // pooled sizes are rounded up, as Caffe does, instead of down
};

struct AnchorConfig {
  std::vector<double> sizes = {128, 256, 512};  // square roots of the areas, in `unit`
  std::vector<double> ratios = {0.5, 1, 2};     // height / width
  // "paper": rounded as the original code does; "torchvision": half extents rounded; "none": exact
  std::string rounding = "paper";
  std::string centre = "cell";  // "cell": (i + 0.5) * stride; "corner": i * stride (torchvision)
  // "nominal": the backbone's; "map": image size // map size; "exact": image size / map size
  std::string stride_rule = "nominal";
  std::string unit = "pixels";  // "pixels" | "image" (its height) | "stride"
  // "all": every size with every ratio; "first": every size with the first ratio and the first size
  // with every ratio
  std::string combine = "all";
};

struct ProposalConfig {
  int pre_nms = 12000;
  int post_nms = 2000;
  double nms_iou = 0.7;
  double min_size = 16;  // pixels of the original picture
};

struct RpnConfig {
  int window = 3;    // n
  int channels = 0;  // output channels of the window conv; 0: the backbone's own (512, 256)
  std::string objectness = "softmax";  // "softmax": 2k outputs | "sigmoid": k outputs
  InitConfig init = {"gauss", 0.01};
  double positive_iou = 0.7;
  double negative_iou = 0.3;
  bool match_best = true;   // the best anchors of every object are positive, ties included
  bool only_inside = true;  // cross-boundary anchors ignored in training (A19)
  int batch = 256;          // sampled anchors per image
  double positive_fraction = 0.5;
  bool tiles = false;  // with train.scheme "rpn_only": the RPN runs on the sampled cells alone
  std::string class_loss = "cross_entropy";  // "cross_entropy" | "focal", of either objectness
  double focal_alpha = 0.25;                 // focal: weight of objects; below 0: none
  double focal_gamma = 2;
  std::string box_loss = "smooth_l1";  // "smooth_l1" | "l1" | "mse" | "giou"
  double sigma = 3;                    // smooth-L1 turns linear at 1 / sigma^2
  // "batch": both losses divided by the sampled anchors; "paper": N_cls = batch, N_reg = positions;
  // "positives": both divided by the sampled positives
  std::string normaliser = "batch";
  double lambda = 1;  // weight of the box loss (10 with normaliser "paper")
  // small boxes are dropped "before" the best pre_nms are taken (original code) or "after"
  std::string size_filter = "before";
  ProposalConfig train = {12000, 2000, 0.7, 16};
  ProposalConfig test = {6000, 300, 0.7, 16};
};

struct RoiConfig {
  // "roi_pool" | "roi_align" (half-pixel) | "roi_align_legacy" | "precise_roi"
  std::string layer = "roi_pool";
  int pooled_height = 7, pooled_width = 7;
  int sampling_ratio = 0;  // RoIAlign samples per bin side; 0: ceil(bin size)
  std::vector<int> hidden = {4096, 4096};
  double dropout = 0.5;                    // after each hidden layer
  bool class_agnostic = false;             // 4 box outputs instead of 4 per class
  InitConfig init = {"gauss", 0.01};       // class scores and new hidden layers
  InitConfig box_init = {"gauss", 0.001};  // box regressor
  int batch = 128;                         // sampled RoIs per image
  double foreground_fraction = 0.25;
  double foreground_iou = 0.5;
  double background_high = 0.5;
  double background_low = 0.0;  // 0.1 in Fast R-CNN
  bool append_ground_truth = true;
  std::vector<double> box_std = {0.1, 0.1, 0.2, 0.2};  // box targets are divided by these
  std::vector<double> box_mean = {0, 0, 0, 0};
  std::string class_loss = "cross_entropy";  // "cross_entropy" | "sigmoid" | "focal"
  double focal_alpha = 0.25;
  double focal_gamma = 2;
  std::string box_loss = "smooth_l1";  // "smooth_l1" | "l1" | "mse" | "giou"
  double sigma = 1;
  std::string normaliser = "batch";  // "batch": the sampled RoIs | "positives": the foreground
  double lambda = 1;
};

struct TestConfig {
  double score = 0.05;
  double nms_iou = 0.3;
  int max_detections = 100;
  double min_size = 0;  // detections with a shorter side in original pixels are dropped
};

struct ModelConfig {
  PreprocessConfig preprocess;
  BackboneConfig backbone;
  AnchorConfig anchors;
  RpnConfig rpn;
  RoiConfig roi;
  TestConfig test;
};

/// Settings of one branch's optimiser; unset fields take the common value.
struct OptimizerOverride {
  std::optional<std::string> method;
  std::optional<double> lr, momentum, weight_decay, beta2, epsilon;
  std::optional<double> bias_lr_factor, bias_decay_factor;
  std::optional<std::string> schedule;
  std::optional<std::vector<double>> lr_steps;  // fractions of the run, as below
  std::optional<double> gamma, final_share, power;
  std::optional<int> warmup_steps;
  std::optional<double> warmup_factor;
};

struct OptimizerConfig {
  std::string method = "sgd";  // "sgd" | "nesterov" | "adam" | "adamw"
  double lr = 0.001;           // per step, for the whole batch
  double momentum = 0.9;
  double weight_decay = 0.0005;
  double beta2 = 0.999, epsilon = 1e-8;  // adam, adamw (momentum is their beta1)
  double bias_lr_factor = 2;
  double bias_decay_factor = 0;
  std::string schedule = "step";          // "constant" | "step" | "cosine" | "polynomial"
  std::vector<double> lr_steps = {0.75};  // step: fraction of train.steps where lr is times gamma
  double gamma = 0.1;
  double final_share = 0;  // cosine, polynomial: share of lr at the end of the run
  double power = 1;        // polynomial
  int warmup_steps = 0;    // lr grows linearly from warmup_factor * lr
  double warmup_factor = 0.1;
  double clip_norm = 0;  // L2 norm limit of all gradients together; 0 none
  OptimizerOverride backbone, rpn, detector;
};

struct TrainConfig {
  // "approximate_joint" | "non_approximate_joint" | "alternating" | "rpn_only" | "detector_only"
  std::string scheme = "approximate_joint";
  std::vector<int> stage_steps;    // alternating: updates of its four steps; empty: 2:1:2:1
  double proposal_gradient = 0.1;  // non_approximate_joint: factor of gradients through proposals
  std::vector<double> stage_backbone_lr;  // alternating: of its steps 1 and 2; empty: as optimizer
  int64_t steps = 80000;                  // optimiser updates; ignored when epochs > 0
  double epochs = 0;
  int batch = 1;      // images per forward pass
  int iter_size = 2;  // forward passes whose gradients are summed (then averaged)
  uint64_t seed = 1;
  double ema = 0;                 // decay of the weights' moving average; 0: none is kept
  std::string precision = "f32";  // "f32" | "tf32" | "bf16": factors of convolutions, dense layers
  int log_every = 20;             // steps
  int checkpoint_every = 2000;    // steps
  int keep_checkpoints = 2;
  double validate_every = 0;    // epochs between validations; 0: at the end only
  bool validation_loss = true;  // validations compute the losses, too
};

/// Random changes of training pictures, drawn anew each epoch; the defaults change nothing.
struct AugmentConfig {
  double brightness = 0, contrast = 0, saturation = 0;  // factors from 1 - x to 1 + x
  double hue = 0;                                       // turned by up to so many turns
  double crop = 0;                                      // share of the pictures
  double crop_min_area = 0.3;                           // share of the picture's area
  std::vector<double> crop_min_iou = {0.1, 0.3, 0.5, 0.7, 0.9};
  double rotate = 0;  // share of the pictures that are turned by quarter turns
  double mosaic = 0;  // share of the pictures that become one of four
};

struct DataConfig {
  std::string format = "auto";  // "auto" | "voc" | "coco" | "yolo" | "csv"
  std::string train_split = "trainval";
  std::string val_split = "test";
  std::vector<std::string> classes;              // empty: all names found
  std::map<std::string, std::string> class_map;  // name in the annotations -> name here
  std::string pictures;       // coco: their folder; "" found beside the annotations
  std::string proposals;      // detector_only: file with the RoIs of the training pictures
  std::string val_proposals;  // and of the validation pictures; "" no validation
  bool flip = true;           // horizontal flip of every second picture, at random
  AugmentConfig augment;
  bool group_shapes = false;   // batches of wide or of tall pictures alone
  double balance = 0;          // classes of fewer pictures than this share are seen more often
  bool use_difficult = false;  // difficult objects are used as training targets
  int coordinates = -1;        // first pixel of the annotations: 0, 1, or -1 to detect
  int workers = 1;             // loader threads
  int prefetch = 4;            // batches decoded ahead
};

struct Config {
  ModelConfig model;
  OptimizerConfig optimizer;
  TrainConfig train;
  DataConfig data;
};

}  // namespace frcnn
