#pragma once

#include "apps/ops/registry.h"

namespace frcnn::apps {

/// The device of the program's --device, for the registry of operations; a GPU is made current.
ops::Device op_device();

}  // namespace frcnn::apps
