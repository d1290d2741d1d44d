#pragma once

#include "engine/memory.h"
#include "engine/tensor.h"

namespace frcnn {

/// Memory without contents for a kernel: `bytes` numbers of u8. What a kernel needs only while it
/// runs is `scratch`; weights in a kernel's own format that stay are `packed`.
Tensor byte_buffer(size_t bytes, Device device = {},
                   MemoryPurpose purpose = MemoryPurpose::scratch);

}  // namespace frcnn
