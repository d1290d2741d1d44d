#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/doctor.h"

namespace frcnn {

/// What a repaired copy differs in.
struct Repairs {
  int64_t pictures = 0, objects = 0;  ///< in the copy
  std::vector<std::string> changes;   ///< one line each: file, and what was changed
  std::map<Defect, int64_t> counts;   ///< changes by their reason
};

/// Writes a VOC folder that holds the pictures of a diagnosis with every defect repaired for which
/// info().fix says how; pictures that cannot be used are left out. Pictures are hard links where
/// the file system allows it, otherwise copies. Annotations without a change are copied byte by
/// byte, others keep their further tags. `coordinates` is how the set's annotations were read;
/// those of the copy are VOC's 1-based ones. A file repairs.txt lists the changes. Written below a
/// temporary name beside `out`, then renamed; throws Error when `out` exists. Nothing else is
/// written.
Repairs write_repaired(const Diagnosis& diagnosis, VocCoordinates coordinates,
                       const std::filesystem::path& out);

}  // namespace frcnn
