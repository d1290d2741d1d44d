#include "apps/ops/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "apps/ops/desk.h"
#include "apps/ops/random_case.h"

#if FRCNN_HAVE_EMULATION
#include "kernels/launch/emulation/emulation.h"
#endif

namespace frcnn::apps::ops {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// The expected side: the CPU's plain loops where an operation has them.
Choice choice_of_expected(const Operation& op, Device device) {
  Choice choice;
  choice.device = device;
  const auto names = op.versions(device);
  if (device == Device::cpu && std::find(names.begin(), names.end(), "reference") != names.end())
    choice.version = "reference";
  return choice;
}

double excess_of(double actual, double expected, double allowed) {
  if (actual == expected || (std::isnan(actual) && std::isnan(expected))) return 0;
  const double difference = std::abs(actual - expected);
  const double excess = allowed > 0 ? difference / allowed : kInfinity;
  return std::isnan(excess) ? kInfinity : excess;
}

void compare_array(const std::string& name, const Array& actual, const Array& expected,
                   const Array& magnitude, const Tolerance& tolerance, Comparison& result) {
  const std::vector<double> a = actual.as<double>(), e = expected.as<double>();
  std::vector<double> m = magnitude.as<double>();
  for (double& value : m) value = std::abs(value);
  if (tolerance.of_largest && !m.empty())
    std::fill(m.begin(), m.end(), *std::max_element(m.begin(), m.end()));
  for (size_t i = 0; i < a.size(); ++i) {
    const double allowed = tolerance.relative * m[i] + tolerance.absolute;
    const double excess = excess_of(a[i], e[i], allowed);
    if (!(excess > result.worst)) continue;
    result.worst = excess;
    result.error = std::abs(a[i] - e[i]) / (m[i] > 0 ? m[i] : 1);
    result.reason = tolerance.reason;
    result.where = fmt::format("{}[{}] of {} is {}, expected {}", name, i,
                               extent_text(actual.extent()), a[i], e[i]);
  }
}

bool is_compared(const Operation& op, const std::string& name) {
  for (const ArrayDoc& doc : op.outputs)
    if (doc.name == name) return doc.compared;
  return true;
}

/// Keeps what is worse of two comparisons.
void merge(Comparison& total, const Comparison& one, uint64_t seed) {
  ++total.cases;
  if (one.worst > 1 && total.failure.empty())
    total.failure = fmt::format("seed {} ({}): {}", seed, one.type, one.where);
  if (!(one.worst > total.worst)) return;
  total.worst = one.worst;
  total.error = one.error;
  total.where = one.where;
  total.reason = one.reason;
  total.type = one.type;
}

/// Which versions a device here can run.
std::vector<std::string> runnable(const Operation& op, Device device) {
  std::vector<std::string> names = op.versions(device);
#if FRCNN_HAVE_CUDA
  if (device == Device::cuda) {
    const int capability = kernels::gpu::device_info<kernels::Backend::cuda>().compute_capability;
    for (const Ladder& rungs : op.ladders)
      for (const Version& v : rungs.gpu)
        if (v.capability > capability) std::erase(names, v.name);
  }
#endif
  return names;
}

Arrays run_scheduled(const Operation& op, const Case& given, const Choice& choice, uint64_t seed) {
#if FRCNN_HAVE_EMULATION
  using kernels::emulation::Schedule;
  if (choice.device == Device::emulated) {
    const auto schedule = static_cast<Schedule>(seed % 3);
    const kernels::emulation::Scope scope({schedule, seed, schedule != Schedule::reversed});
    return run_case(op, given, choice);
  }
#endif
  (void)seed;
  return run_case(op, given, choice);
}

Case case_of_seed(const Operation& op, uint64_t seed, std::string& type) {
  Random random(seed);
  Case given = op.random_case(random);
  type = op.types.empty() ? "" : op.types[seed % op.types.size()];
  if (op.types.size() > 1) given.params["type"] = type;
  if (type == "bf16") given.params.erase("relu");  // its gradient is the caller's
  return given;
}

}  // namespace

Comparison compare_results(const Operation& op, const Choice& choice, const std::string& type,
                           const Arrays& actual, const Arrays& expected, const Arrays& magnitudes) {
  Comparison result;
  result.version = choice.version;
  result.type = type;
  result.cases = 1;
  for (const auto& [name, array] : expected) {
    check(actual.contains(name), "[{}] {} has no result '{}'", op.name, device_name(choice.device),
          name);
    const Array& other = actual.at(name);
    check(other.extent() == array.extent() && other.type() == array.type(),
          "[{}] {} of {} is {} {}, expected {} {}", op.name, name, device_name(choice.device),
          type_name(other.type()), extent_text(other.extent()), type_name(array.type()),
          extent_text(array.extent()));
    if (!is_compared(op, name)) continue;
    Tolerance tolerance;
    if (op.tolerance && is_float(array.type())) tolerance = op.tolerance(choice.version, type);
    const auto magnitude = magnitudes.find(name);
    compare_array(name, other, array, magnitude == magnitudes.end() ? array : magnitude->second,
                  tolerance, result);
  }
  return result;
}

Arrays magnitudes_of(const Operation& op, const Case& given, const Arrays& expected) {
  if (op.magnitudes.empty() && op.own_magnitudes.empty()) return expected;
  Case absolute = given;
  for (const std::string& name : op.magnitudes) {
    if (const auto param = absolute.params.find(name); param != absolute.params.end())
      if (auto* factor = std::get_if<double>(&param->second)) *factor = std::abs(*factor);
    const auto array = absolute.arrays.find(name);
    if (array == absolute.arrays.end()) continue;
    std::vector<double> values = array->second.as<double>();
    for (double& value : values) value = std::abs(value);
    array->second.set(values);
  }
  Arrays sizes = run_case(op, absolute, choice_of_expected(op, Device::cpu));
  for (const auto& [name, own] : op.own_magnitudes)
    if (const auto found = sizes.find(name); found != sizes.end()) found->second = own(given);
  return sizes;
}

std::vector<Comparison> compare_devices(const Operation& op, Device expected, Device device,
                                        const std::string& version, int64_t cases, uint64_t seed) {
  std::vector<Comparison> list;
  if (!version.empty()) {
    op.check_version({device, version});
    list.emplace_back().version = version;
  } else {
    for (const std::string& name : runnable(op, device)) list.emplace_back().version = name;
  }
  const Choice base = choice_of_expected(op, expected);
  const auto wants_more = [&](const Comparison& c) { return c.cases < cases; };
  const uint64_t end = seed + static_cast<uint64_t>(10 * cases);
  for (; seed < end && std::any_of(list.begin(), list.end(), wants_more); ++seed) {
    std::string type;
    const Case given = case_of_seed(op, seed, type);
    std::unique_ptr<Arrays> right, magnitudes;
    for (Comparison& total : list) {
      if (!wants_more(total)) continue;
      const Choice choice{device, total.version};
      try {
        const Arrays actual = run_scheduled(op, given, choice, seed);
        if (!right) {
          right = std::make_unique<Arrays>(run_case(op, given, base));
          magnitudes = std::make_unique<Arrays>(magnitudes_of(op, given, *right));
        }
        merge(total, compare_results(op, choice, type, actual, *right, *magnitudes), seed);
      } catch (const Unsupported&) {  // not of this type or shape
      } catch (const Error& error) {
        fail("seed {}: version '{}': {}", seed, total.version, error.what());
      }
    }
  }
  return list;
}

}  // namespace frcnn::apps::ops
