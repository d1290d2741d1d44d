#pragma once

// oneDNN 2.x (Debian 12) and 3.x (Ubuntu 24.04) under one set of helpers. Only .cpp files of
// kernels/ include this header: no public header shows oneDNN.
#include <fmt/format.h>
#include <dnnl.hpp>

#include <string>

#include "kernels/launch/check.h"

namespace frcnn::kernels::onednn {

inline dnnl::engine& engine() {
  static dnnl::engine instance(dnnl::engine::kind::cpu, 0);
  return instance;
}

/// A stream per thread: streams hold no data on the CPU but are not thread-safe.
inline dnnl::stream& stream() {
  thread_local dnnl::stream instance(engine());
  return instance;
}

inline dnnl::memory::data_type f32() {
  return dnnl::memory::data_type::f32;
}

inline dnnl::memory memory(const dnnl::memory::desc& desc, const void* data) {
  return dnnl::memory(desc, engine(), const_cast<void*>(data));
}

/// Attributes of a primitive whose scratch memory the caller gives, optionally with a fused ReLU.
inline dnnl::primitive_attr attributes(bool relu) {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (relu) {
    dnnl::post_ops ops;
#if DNNL_VERSION_MAJOR >= 3
    ops.append_eltwise(dnnl::algorithm::eltwise_relu, 0.0f, 0.0f);
#else
    ops.append_eltwise(1.0f, dnnl::algorithm::eltwise_relu, 0.0f, 0.0f);
#endif
    attr.set_post_ops(ops);
  }
  return attr;
}

/// Text that is equal for equal memory formats of one shape.
inline std::string format_key(const dnnl::memory::desc& desc) {
#if DNNL_VERSION_MAJOR >= 3
  return fmt::format("{} {} {} {} {} {}", static_cast<int>(desc.get_format_kind()), desc.get_size(),
                     fmt::join(desc.get_strides(), ","), fmt::join(desc.get_padded_dims(), ","),
                     fmt::join(desc.get_inner_blks(), ","), fmt::join(desc.get_inner_idxs(), ","));
#else
  return {reinterpret_cast<const char*>(&desc.data), sizeof(desc.data)};
#endif
}

inline void reorder(const dnnl::memory& from, const dnnl::memory& to) {
  dnnl::memory source = from, target = to;
  dnnl::reorder(source, target).execute(stream(), source, target);
  stream().wait();
}

}  // namespace frcnn::kernels::onednn
