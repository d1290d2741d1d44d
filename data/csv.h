#pragma once

#include <filesystem>

#include "data/dataset.h"
#include "data/reading.h"
#include "data/voc.h"

namespace frcnn {

/// Reads a table of objects, one per line. Either with a header that names the columns, in any
/// order:
///
///   path,xmin,ymin,xmax,ymax,class[,width,height,difficult,truncated,crowd,area]
///
/// ("filename", "image" and "label", "name" are accepted for path and class, other columns are
/// ignored), or without one as path,x1,y1,x2,y2,class. Paths count from the table's folder, from
/// images/ or JPEGImages/ in it. A line with a path and no numbers is a picture without objects.
/// Fields may be quoted (RFC 4180).
///
/// Corners are continuous pixels (positions of edges, 0..width) unless `coordinates` says that they
/// are pixel numbers from 0 or 1. Classes are sorted by name. Broken lines and missing pictures are
/// errors with their line, collected and thrown as one Error.
Dataset read_csv(const std::filesystem::path& file, const ReadOptions& options,
                 VocCoordinates coordinates = VocCoordinates::detect);

}  // namespace frcnn
