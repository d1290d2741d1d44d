#pragma once

#include <string>
#include <vector>

#include "data/doctor.h"

namespace frcnn {

// The parts of examine(). Each adds its findings.

/// Objects of one class with the same box in one picture, or nearly so.
void check_objects(Diagnosis& diagnosis);

/// Classes with fewer than `rare` objects; names that differ in case, spaces, '_' or '-' alone.
void check_classes(Diagnosis& diagnosis, int rare);

/// What the facts tell about each picture of the set: damage, format, orientation, colours.
void check_pictures(Diagnosis& diagnosis);

/// Pictures in two lists, by id or by content, and pictures of the same content in one.
void check_copies(Diagnosis& diagnosis);

/// Category ids of a COCO file that do not count from 1 on.
void check_ids(Diagnosis& diagnosis);

/// Labels with those that plain_name() makes equal joined into the most frequent one.
std::vector<size_t> joined_classes(const Dataset& set);

/// A class name without what people write differently: lower case, no spaces, '_' and '-'.
std::string plain_name(const std::string& name);

}  // namespace frcnn
