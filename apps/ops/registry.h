#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "apps/ops/arrays.h"
#include "kernels/launch/check.h"
#include "kernels/launch/gpu.h"

/// Every operation of kernels/ as data: its arrays and parameters, its versions, how to make a
/// random case of it, how to run it on any device, how far devices may differ. `frcnn op`, `frcnn
/// bench kernels` and the tests are loops over this list.
namespace frcnn::apps::ops {

class Desk;
class Random;

enum class Device : uint8_t { cpu, cuda, emulated };
const char* device_name(Device device);
/// Throws UsageError for a name that is none.
Device device_of(const std::string& name);
/// Empty when this program can run on the device here, otherwise the reason why not.
std::string unavailable(Device device);

/// An input or output. The extent is written in letters (docs/conventions.md): a letter stands for
/// the same number in all inputs of an operation, the name of a parameter for its value; `4*K + 4`
/// is computed. Type::f32 means the type of the run, see the parameter `type`.
struct ArrayDoc {
  std::string name;
  Type type = Type::f32;
  std::string extent;
  std::string text;
  bool optional = false;
  bool gradient = false;  ///< of an output: a gradient "d_<name>" may be given
  bool compared = true;   ///< of an output: false where rounding may decide between equals
};

struct ParameterDoc {
  std::string name;
  Value standard;  ///< when it is not given; also says which kind of value it is
  std::string text;
  std::vector<std::string> choices;  ///< of a string
};

/// A version that a device offers.
struct Version {
  std::string name, idea;
  int capability = 75;   ///< cuda: least compute capability
  bool emulated = true;  ///< false: not under emulation
  size_t value = 0;      ///< of the enum, or the place in the list of the CPU's versions
};

/// The versions of some of the passes; an operation has one ladder per enum of its contract.
struct Ladder {
  std::string text;          ///< "" or what it is for: "backward"
  std::string array;         ///< name of the k<Op>Versions array
  std::vector<Version> gpu;  ///< in the order of the enum
  std::vector<Version> cpu;  ///< none: there is one way only
  std::string gpu_standard;  ///< when no version is asked for
  std::string cpu_standard;
};

/// What a run is asked for. A ladder without a version of this name takes its standard.
struct Choice {
  Device device = Device::cpu;
  std::string version;
};

/// How far a result may be from the CPU's: |difference| <= relative * magnitude + absolute. The
/// magnitude of a number is its absolute value or what Operation::magnitudes says.
struct Tolerance {
  double relative = 0, absolute = 0;
  std::string reason = "the same bits";
  bool of_largest = false;  ///< the magnitude is the largest of the array
};

/// A version that does not exist for the type or shape of a case.
class Unsupported : public Error {
 public:
  using Error::Error;
};

/// A case of `bench kernels`.
struct BenchCase {
  std::string label;
  std::function<Case()> make;
  bool backward_only = false;  ///< the forward pass runs, but is not measured
};

struct Operation {
  std::string name, family, text;
  std::string header;                  ///< the contract: "kernels/pooling/roi_align.h"
  std::vector<std::string> functions;  ///< of the header(s) that it runs, without namespace
  std::vector<ArrayDoc> inputs, outputs;
  std::vector<ParameterDoc> params;
  std::vector<Ladder> ladders;
  std::vector<std::string> types = {"f32", "f64"};
  bool on_gpu = true;

  /// Checks the case and lays it out on the desk: memory and passes.
  std::function<void(Desk&)> prepare;
  std::function<Case(Random&)> random_case;
  /// Of an output or gradient for a version ("" standard) and type. Default: the same bits.
  std::function<Tolerance(const std::string& version, const std::string& type)> tolerance;
  /// Inputs, gradients and parameters whose absolute values, put through the operation, give the
  /// magnitudes: for sums of products, whose rounding error is that of their terms, not of the sum.
  std::vector<std::string> magnitudes;
  /// Results whose magnitudes those do not give, as slopes have both signs: what does.
  std::map<std::string, std::function<Array(const Case&)>> own_magnitudes;
  /// Floating-point operations of a pass; none: it is bound by memory.
  std::function<double(const Case&, const std::string& pass)> flops;
  /// Arrays that a pass must read and write, for GB/s. Default: all but gradients, and for passes
  /// named backward... the inputs and all gradients.
  std::function<std::vector<std::string>(const std::string& pass)> traffic;
  std::function<std::vector<BenchCase>(const std::string& shapes)> bench;

  bool differentiable() const;
  const ParameterDoc* parameter(const std::string& parameter_name) const;
  /// Names of all versions on a device, without repetition; {""} when there is one way only.
  std::vector<std::string> versions(Device device) const;
  /// Throws UsageError when no ladder has it.
  void check_version(const Choice& choice) const;
};

/// All operations, by family and name.
const std::vector<Operation>& operations();
/// Throws UsageError, with the nearest name, when there is none.
const Operation& operation(const std::string& name);

/// The versions of a contract's array, for a ladder.
std::vector<Version> versions_of(std::span<const kernels::gpu::KernelVersion> versions);

// Each adds the operations of a family (apps/ops/<family>.cpp).
using Operations = std::vector<Operation>;
void add_elementwise(Operations& list);
void add_activations(Operations& list);
void add_broadcasting(Operations& list);
void add_reductions(Operations& list);
void add_convolution(Operations& list);
void add_linear(Operations& list);
void add_max_pooling(Operations& list);
void add_avg_pooling(Operations& list);
void add_roi_pooling(Operations& list);
void add_norm(Operations& list);
void add_random(Operations& list);
void add_anchors(Operations& list);
void add_codec(Operations& list);
void add_matching(Operations& list);
void add_selection(Operations& list);
void add_rows(Operations& list);
void add_tiles(Operations& list);
void add_losses(Operations& list);
void add_optim(Operations& list);
void add_gradients(Operations& list);
void add_image(Operations& list);

}  // namespace frcnn::apps::ops
