#include "apps/presets.h"

#include <algorithm>

#include "kernels/launch/check.h"
#include "model/option_table.h"
#include "model/options.h"

namespace frcnn::apps {

std::string_view Preset::summary() const {
  std::string_view line = text.substr(0, text.find('\n'));
  line.remove_prefix(std::min(line.find_first_not_of("# "), line.size()));
  return line;
}

const Preset& find_preset(const std::string& name) {
  const Preset* nearest = nullptr;
  size_t least = std::string::npos;
  for (const Preset& preset : presets()) {
    if (preset.name == name) return preset;
    // "zf" for "paper-zf" is as near as a slip of the finger.
    const bool part = name.size() > 1 && preset.name.find(name) != std::string_view::npos;
    const size_t distance = part ? 1 : edit_distance(name, std::string(preset.name));
    if (distance < least) {
      least = distance;
      nearest = &preset;
    }
  }
  const std::string hint = nearest && least <= name.size() / 2
                               ? fmt::format("did you mean '{}'? ", nearest->name)
                               : std::string();
  throw UsageError(fmt::format(
      "--preset {}: no such preset; {}`frcnn train --list-presets` lists them", name, hint));
}

Config preset_config(const std::string& name) {
  Config config;
  apply_toml(config, find_preset(name).text, "preset " + name);
  return config;
}

}  // namespace frcnn::apps
