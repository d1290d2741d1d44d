#include "engine/byte_buffer.h"

namespace frcnn {

Tensor byte_buffer(size_t bytes, Device device, MemoryPurpose purpose) {
  const MemoryPurposeScope scope(purpose);
  return Tensor::empty({static_cast<int64_t>(bytes)}, DType::u8, device);
}

}  // namespace frcnn
