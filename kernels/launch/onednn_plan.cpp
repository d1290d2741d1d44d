#include "kernels/launch/onednn_plan.h"

namespace frcnn::kernels::onednn {

void Plan::run(std::unordered_map<int, dnnl::memory> arguments, void* scratch) const {
  arguments.emplace(DNNL_ARG_SCRATCHPAD, memory(scratch_, scratch));
  primitive_.execute(stream(), arguments);
  stream().wait();
}

void Plan::pack_weights(const float* w, void* packed) const {
  reorder(memory(descs_.w_plain, w), memory(weights_, packed));
}

void Plan::forward(const float* x, const void* packed_w, const float* b, float* y,
                   void* scratch) const {
  std::unordered_map<int, dnnl::memory> arguments = {{DNNL_ARG_SRC, memory(descs_.x, x)},
                                                     {DNNL_ARG_WEIGHTS, memory(weights_, packed_w)},
                                                     {DNNL_ARG_DST, memory(descs_.y, y)}};
  if (b) arguments.emplace(DNNL_ARG_BIAS, memory(descs_.b, b));
  run(std::move(arguments), scratch);
}

void Plan::backward_data(const float* dy, const void* packed_w, float* dx, void* scratch) const {
  run({{DNNL_ARG_DIFF_DST, memory(descs_.y, dy)},
       {DNNL_ARG_WEIGHTS, memory(weights_, packed_w)},
       {DNNL_ARG_DIFF_SRC, memory(descs_.x, dx)}},
      scratch);
}

void Plan::backward_weights(const float* x, const float* dy, float* dw, float* db, void* packed,
                            void* scratch) const {
  void* target = plain_weights() ? static_cast<void*>(dw) : packed;
  std::unordered_map<int, dnnl::memory> arguments = {
      {DNNL_ARG_SRC, memory(descs_.x, x)},
      {DNNL_ARG_DIFF_DST, memory(descs_.y, dy)},
      {DNNL_ARG_DIFF_WEIGHTS, memory(weights_, target)}};
  if (db) arguments.emplace(DNNL_ARG_DIFF_BIAS, memory(descs_.b, db));
  run(std::move(arguments), scratch);
  if (!plain_weights()) reorder(memory(weights_, target), memory(descs_.w_plain, dw));
}

}  // namespace frcnn::kernels::onednn
