#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"

namespace frcnn::apps {

/// A config file of configs/ as it was when the program was built, so that it works from anywhere.
struct Preset {
  std::string_view name;  ///< the file's name without .toml
  std::string_view text;
  /// The first line of the file, which says what the preset is.
  std::string_view summary() const;
};

/// In the order of their names.
const std::vector<Preset>& presets();
/// UsageError that names the nearest one when there is none of that name.
const Preset& find_preset(const std::string& name);
/// What a preset sets, on top of the defaults. Relations between options are not checked: a preset
/// may need a setting that only the user can give.
Config preset_config(const std::string& name);

}  // namespace frcnn::apps
