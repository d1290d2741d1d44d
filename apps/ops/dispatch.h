#pragma once

#include <string>

#include "apps/ops/desk.h"

namespace frcnn::apps::ops {

/// Where an operation's kernels run, as a type: `if constexpr (Where::cpu)`.
struct OnCpu {
  static constexpr bool cpu = true;
};
template <kernels::Backend b>
struct OnGpu {
  static constexpr bool cpu = false;
  static constexpr kernels::Backend backend = b;
};

/// Calls body(Where{}) for the device; memory_of() has refused those that this build has not.
template <typename Body>
void on_device(Device device, const Body& body) {
  if (device == Device::cpu) return body(OnCpu{});
#if FRCNN_HAVE_CUDA
  if (device == Device::cuda) return body(OnGpu<kernels::Backend::cuda>{});
#endif
#if FRCNN_HAVE_EMULATION
  if (device == Device::emulated) return body(OnGpu<kernels::Backend::emulated>{});
#endif
  fail("[op] this build has no device {}", device_name(device));
}

template <typename T>
constexpr const char* run_type() {
  return std::is_same_v<T, double> ? "f64" : std::is_same_v<T, kernels::Bfloat16> ? "bf16" : "f32";
}

/// Calls body(T{}) for that one of Types which the run is in.
template <typename... Types, typename Body>
void on_type(const Desk& d, const Body& body) {
  const bool found = ((d.type() == run_type<Types>() ? (body(Types{}), true) : false) || ...);
  check(found, "[{}] does not run in {} on {}", d.op().name, d.type(), device_name(d.device()));
}

/// Operation::prepare from a struct with `template <typename Where, typename T> static void
/// prepare(Desk&)`, for the types that both sides have.
template <typename Op, typename... Types>
std::function<void(Desk&)> on_all_devices() {
  return [](Desk& d) {
    on_type<Types...>(d, [&](auto t) {
      on_device(d.device(),
                [&](auto where) { Op::template prepare<decltype(where), decltype(t)>(d); });
    });
  };
}

/// The same for an operation without a GPU version.
template <typename Op, typename... Types>
std::function<void(Desk&)> on_cpu_only() {
  return [](Desk& d) {
    check(d.device() == Device::cpu, "[{}] runs on the CPU only", d.op().name);
    on_type<Types...>(d, [&](auto t) { Op::template prepare<OnCpu, decltype(t)>(d); });
  };
}

}  // namespace frcnn::apps::ops
