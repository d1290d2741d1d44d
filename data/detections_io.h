#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/evaluate.h"

namespace frcnn {

/// COCO results JSON: an array of {"image_id", "category_id", "category_name", "bbox": [x, y,
/// width, height], "score"}, in the order given. image_id is the picture's number in its COCO file,
/// or its id as text; category_id that of Dataset::category_ids, or label + 1.
std::string detections_to_json(const Dataset& dataset, const std::vector<Detection>& detections);
void write_detections_json(const std::filesystem::path& path, const Dataset& dataset,
                           const std::vector<Detection>& detections);

/// Reads the same. image_id may be the picture's number or id, its file name, or a number whose
/// digits are the id; the class is taken by category_name, or by category_id where there is no
/// name. Throws
/// Error with the entry's number and key for unknown pictures, classes and wrong types.
std::vector<Detection> read_detections_json(const std::filesystem::path& path,
                                            const Dataset& dataset);

/// One file <id>.txt per picture of the set (empty where nothing was found), one line per
/// detection: class score left top width height. Class names with spaces are written with '_'.
void write_detections_text(const std::filesystem::path& folder, const Dataset& dataset,
                           const std::vector<Detection>& detections);

/// One line per detection after the header image,class,score,xmin,ymin,xmax,ymax: the picture's id
/// and pixels of the picture, as RFC 4180 has it.
void write_detections_csv(const std::filesystem::path& path, const Dataset& dataset,
                          const std::vector<Detection>& detections);

/// Text as a field of a CSV file: in quotes where it needs them.
std::string csv_field(const std::string& text);

/// Lines "class left top width height [difficult]" of every <id>.txt, files in the order of their
/// names: a data set without pictures to decode. Empty `classes`: the names found, sorted.
Dataset read_truth_text(const std::filesystem::path& folder,
                        const std::vector<std::string>& classes = {});

/// Lines "class score left top width height" of every <id>.txt, files in the order of their names,
/// lines in the order of the file. A file that names no picture of `truth` is an Error.
std::vector<Detection> read_detections_text(const std::filesystem::path& folder,
                                            const Dataset& truth);

/// JSON file or folder of text files.
std::vector<Detection> read_detections(const std::filesystem::path& path, const Dataset& truth);

}  // namespace frcnn
