#pragma once

// Names that the writer and the readers of checkpoints share (weights/FORMAT.md).
namespace frcnn::checkpoint_format {

inline constexpr const char* kMagic = "frcnn checkpoint";
/// Dataset of the text of an imported backbone.
inline constexpr const char* kNetwork = "backbone_network";

}  // namespace frcnn::checkpoint_format
