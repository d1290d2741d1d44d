#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "model/config.h"
#include "model/faster_rcnn.h"

namespace frcnn {

/// Writes a detector's parameters and running statistics under this program's own names as a
/// safetensors file. Metadata: "format" "frcnn", "program_version", "config" (TOML, with the
/// preprocessing), "classes" (one name a line), and "network" (JSON) where the backbone was
/// imported. `frcnn import` makes the same checkpoint of it, bit by bit.
void export_safetensors(const FasterRcnn& model, const Config& config,
                        const std::vector<std::string>& classes, const std::string& program_version,
                        const std::filesystem::path& file);

/// A detector as torchvision's FasterRCNN(...) has it.
struct TorchvisionModel {
  /// The names and layouts of its state_dict(): backbone.<i>, rpn.head, roi_heads.
  std::vector<std::pair<std::string, Tensor>> tensors;
  /// "format" "pt", "frcnn_version", "frcnn_config" (TOML), "classes" (one name a line, without the
  /// background that torchvision counts as label 0), and "torchvision": JSON with the arguments
  /// that make the model around the tensors (tests/peers/torchvision_model.py does it).
  std::map<std::string, std::string> metadata;
  /// Settings that torchvision cannot follow, as sentences that name the key; with them the
  /// detections differ a little. Empty when both models compute the same.
  std::vector<std::string> differences;
};

/// Converts what is computed alike but stored differently:
///  - backbone: a torch.nn.Sequential of convolutions, batch norms, ReLUs and poolings; of VGG16 it
///    is torchvision.models.vgg16().features[:-1], of AlexNet alexnet().features.
///  - channels: torchvision's pictures are R, G, B in 0 .. 1; filters that expect B, G, R have
///  their
///    input channels turned round, mean and deviation change with them.
///  - objectness: a softmax over two logits is the sigmoid of their difference, so one filter is
///    subtracted from the other.
///  - box regression: torchvision divides by weights (10, 10, 5, 5) = 1 / roi.box_std; roi.box_mean
///    goes into the bias. Class-agnostic boxes are repeated for every class.
///  - anchors: any rounding and centre, as a list of the boxes around the first cell.
/// Throws Error that names the setting for a model that torchvision's classes cannot hold: an
/// imported backbone, an RPN whose window is not 3 or whose width is not the map's, a head that has
/// not two hidden layers of one width.
TorchvisionModel torchvision_model(const FasterRcnn& model, const Config& config,
                                   const std::vector<std::string>& classes,
                                   const std::string& program_version);

}  // namespace frcnn
