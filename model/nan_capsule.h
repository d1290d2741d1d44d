#pragma once

#include <deque>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "model/non_finite.h"
#include "model/schemes.h"
#include "model/trainer.h"
#include "weights/checkpoint.h"

namespace frcnn {

/// One forward and backward pass as it was given to the trainer.
struct CapsulePass {
  int64_t step = 0;  ///< number of its update, from 1
  ModelInput input;
  std::vector<GroundTruth> truth;
  std::vector<std::string> ids, files;  ///< of its images
};

/// All that is needed to repeat a training step in which something was not finite, on any machine
/// (docs/exactness.md). On the CPU that is the state before the step and the step's own passes; on
/// a GPU, where such a step is noticed later, the state as it was found and the last passes.
struct NanCapsule {
  Checkpoint state;
  std::string device;   ///< "cpu", "cuda:0 ..."
  std::string message;  ///< what the training noticed
  std::vector<CapsulePass> passes;
  int64_t step() const { return passes.empty() ? 0 : passes.back().step; }
};

/// The HDF5 file: the groups of a checkpoint, and "pass 0", "pass 1", ... Written to a temporary
/// name, then renamed. Error as for checkpoints.
void save_capsule(const std::filesystem::path& file, const NanCapsule& capsule);
NanCapsule load_capsule(const std::filesystem::path& file);

/// What a repetition found, in which pass of the capsule.
struct ReplayResult {
  NonFinite what;
  size_t pass = 0;
};

/// Repeats the passes on the CPU, each with the random numbers that it had, and looks at every
/// tensor; then at the sums of gradients and at the weights after the update. nullopt when all was
/// finite. `progress` is told what is being done.
std::optional<ReplayResult> replay(const NanCapsule& capsule,
                                   const std::function<void(const std::string&)>& progress = {});

/// "forward: conv2d of layer ...; images 000005 (JPEGImages/000005.jpg); step 12, pass 1 of 2".
std::string describe(const NanCapsule& capsule, const ReplayResult& result);

}  // namespace frcnn
