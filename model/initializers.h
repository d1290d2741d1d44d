#pragma once

#include "engine/parameters.h"
#include "model/config.h"

namespace frcnn {

/// The filler that a config names; Error for a method that does not exist.
inline Initializer make_initializer(const InitConfig& config) {
  using Method = Initializer::Method;
  if (config.method == "gauss") return {Method::gauss, config.scale};
  if (config.method == "uniform") return {Method::uniform, config.scale};
  if (config.method == "xavier") return {Method::xavier, 0};
  if (config.method == "he") return {Method::he, 0};
  fail("init.method: expected \"gauss\", \"uniform\", \"xavier\" or \"he\", got \"{}\"",
       config.method);
}

}  // namespace frcnn
