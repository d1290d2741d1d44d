#include "apps/data_option.h"

#include <CLI/CLI.hpp>

namespace frcnn::apps {

CLI::Option* add_data_option(CLI::App& command, std::vector<std::string>& sources,
                             const std::string& name, const std::string& help) {
  return command.add_option(name, sources, help)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false)
      ->type_name("DATA");
}

}  // namespace frcnn::apps
