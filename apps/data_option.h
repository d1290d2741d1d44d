#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace frcnn::apps {

/// Adds an option that names data sets and may be repeated; each time takes one.
CLI::Option* add_data_option(CLI::App& command, std::vector<std::string>& sources,
                             const std::string& name = "--data",
                             const std::string& help =
                                 "data set: VOC, COCO or YOLO folder, .json, .csv or data.yaml; "
                                 "may be repeated");

}  // namespace frcnn::apps
