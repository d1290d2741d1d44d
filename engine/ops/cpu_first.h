#pragma once

#include "engine/dispatch.h"

/// As FRCNN_CALL, for kernels whose GPU versions follow: Error on a GPU.
#define FRCNN_CALL_CPU(device, function, ...)                                        \
  (::frcnn::check(!(device).is_gpu(), "[" #function "] not available on a GPU yet"), \
   ::frcnn::kernels::cpu::function(__VA_ARGS__))
