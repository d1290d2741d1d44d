#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace frcnn {

/// One picture id of a split and where it was named, for messages.
struct SplitEntry {
  std::string id;
  std::filesystem::path file;  // split file, or the annotation itself for split "all"
  int line = 0;
};

/// Pictures of a split in the order of its file. "trainval" is joined from train and val when it
/// has no file of its own; "all" is every annotation, sorted. Throws Error for unknown splits.
std::vector<SplitEntry> read_split(const std::filesystem::path& folder, const std::string& split);

/// Ids of all files Annotations/<id>.xml, sorted.
std::vector<std::string> annotation_ids(const std::filesystem::path& folder);

/// Picture of an annotation: JPEGImages/<id> with a known extension, or the file that the
/// annotation names. Empty when there is none.
std::filesystem::path find_picture(const std::filesystem::path& folder, const std::string& id,
                                   const std::string& filename);

}  // namespace frcnn
