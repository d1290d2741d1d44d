#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"

namespace frcnn {

// The one option table. The TOML parser, `--set`, the saved config, the range checks, the listing
// of `frcnn train --help-config` and docs/config.md are all made from it, so they cannot disagree.

/// One row of the table as text, for listings.
struct OptionInfo {
  std::string key;            ///< "rpn.positive_iou"
  std::string type;           ///< "number", "integer", "boolean", "string", "list of ..."
  std::string default_value;  ///< TOML text; empty: unset, the common value is taken
  std::string allowed;        ///< "0 to 1", "\"bgr\", \"rgb\"", "" (anything)
  std::string unit;           ///< "pixels", "steps", ...
  std::string help;
  std::string source;  ///< where the default comes from in the paper or its original code
};
std::vector<OptionInfo> option_list();

/// Reads a TOML config file, applies `overrides` ("key=value", TOML values, strings may be bare)
/// and checks it. What neither names is as in `base`. Throws UsageError that names file, line, key,
/// expected and found; Error when the file cannot be read.
Config load_config(const std::filesystem::path& file,
                   const std::vector<std::string>& overrides = {}, const Config& base = {});

/// The same from text; `name` stands for the file in messages.
Config parse_config(std::string_view text, const std::string& name,
                    const std::vector<std::string>& overrides = {}, const Config& base = {});

/// Sets what the text names, and leaves the rest. Does not check relations between options.
void apply_toml(Config& config, std::string_view text, const std::string& name);

/// Changes one option: "rpn.positive_iou=0.6", "data.train_split=train". Does not check relations
/// between options: call check_config() after the last one.
void set_option(Config& config, const std::string& assignment);

/// The value of one option as TOML text; nullopt when it is unset. Throws UsageError for an unknown
/// key.
std::optional<std::string> get_option(const Config& config, const std::string& key);

/// Checks what concerns several options at once (negative_iou <= positive_iou, ...). Throws
/// UsageError that begins with `name`.
void check_config(const Config& config, const std::string& name);

/// Every option with its value, in the order of the table: the same config gives the same text, and
/// parse_config() of the text gives the same config.
std::string to_toml(const Config& config);

/// The table for a terminal, and as the Markdown of docs/config.md.
std::string options_text();
std::string options_markdown();

}  // namespace frcnn
