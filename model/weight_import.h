#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/parameters.h"
#include "model/backbone.h"
#include "model/config.h"
#include "model/weight_names.h"
#include "weights/weight_file.h"

namespace frcnn {

class FasterRcnn;

/// What takes weights: all of a model, or parts of it in tests.
struct ImportTarget {
  const Parameters* parameters = nullptr;
  const BackboneSpec* backbone = nullptr;
  const ModelConfig* config = nullptr;
};
ImportTarget import_target(const FasterRcnn& model);

struct ImportOptions {
  enum class Scope : uint8_t {
    backbone,  ///< the backbone, and the head's hidden layers (fc6, fc7) where they fit
    detector,  ///< every parameter
  };
  Scope scope = Scope::backbone;
  /// What is missing, left over or of another shape is no error.
  bool partial = false;
  /// Weights that were trained with other pictures than the config makes are no error.
  bool any_preprocess = false;
  /// Entry in the file (its name or path) to parameter. Both may end in '*': "conv_a/*" to
  /// "backbone.conv1.*". An empty parameter leaves the entry out.
  std::vector<std::pair<std::string, std::string>> map;
};

/// One line of the table of an import.
struct ImportRow {
  enum class State : uint8_t {
    matched,     ///< goes into `parameter`
    left_out,    ///< by design; `note` says why
    mismatched,  ///< has a place, but not that shape
    unexpected,  ///< has no place
    missing,     ///< `parameter` gets no values
  };
  State state = State::matched;
  std::string entry;  ///< "" when missing
  Shape entry_shape;
  std::string parameter;  ///< "" when unexpected, or left out without a place
  Shape parameter_shape;
  std::string note;  ///< what is done to the numbers on the way, or why they are left out
};
const char* name_of(ImportRow::State state);

/// What an import would do.
struct ImportPlan {
  NameScheme scheme = NameScheme::own;
  /// Channels, scale, mean and stddev of the pictures that the weights were trained with; nullopt
  /// where neither the file nor its kind tells.
  std::optional<PreprocessConfig> preprocess;
  std::vector<ImportRow> rows;  ///< the file's entries in order, then what is missing
  int64_t count(ImportRow::State state) const;
  /// As a table, with a line of counts at the end.
  std::string text() const;
};

/// Compares names and shapes; reads no numbers. Throws UsageError for a wrong `options.map`.
ImportPlan plan_import(const WeightFile& file, const ImportTarget& target,
                       const ImportOptions& options);

/// Throws Error that names the first arrays concerned unless the plan is complete (or
/// options.partial) and the weights' pictures are those of the config (or options.any_preprocess).
void check_plan(const WeightFile& file, const ImportPlan& plan, const ImportTarget& target,
                const ImportOptions& options);

/// Loads what the plan matched. Peak memory beyond the parameters is a few MiB. Returns warnings:
/// arrays with NaN or infinite numbers. Convolutions and dense layers of Keras are turned into
/// (out, in, ...); fc6 from (row, column, channel) to (channel, row, column); Caffe's detectors get
/// our order of RPN scores and our normalised box targets.
std::vector<std::string> run_import(const WeightFile& file, const ImportPlan& plan,
                                    const ImportTarget& target);

/// Plans, checks and runs. What it did is one line for a log, then one per warning.
std::vector<std::string> import_weights(const WeightFile& file, const ImportTarget& target,
                                        const ImportOptions& options);

/// True when both make the same numbers of a picture (sizes are not compared).
bool same_pictures(const PreprocessConfig& a, const PreprocessConfig& b);
/// "channels bgr, scale 1, mean 103.939 116.779 123.68, stddev 1 1 1"
std::string pictures_text(const PreprocessConfig& config);

}  // namespace frcnn
