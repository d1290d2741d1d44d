#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "apps/ops/registry.h"
#include "kernels/launch/check.h"
#include "kernels/launch/layout.h"

namespace frcnn::apps::ops {

/// Memory of one device and the copies to and from it.
class Memory {
 public:
  virtual ~Memory() = default;
  virtual void* allocate(size_t bytes) = 0;
  virtual void release(void* memory) = 0;
  virtual void upload(void* device, const void* host, size_t bytes) = 0;
  virtual void download(void* host, const void* device, size_t bytes) = 0;
  virtual void fill(void* device, int byte, size_t bytes) = 0;
  /// Waits for the device; throws Error when some of its work failed.
  virtual void wait() = 0;
  /// Seconds that body() took, work that it began included.
  virtual double seconds(const std::function<void()>& body) = 0;
};
/// Throws Error, with the reason, when the device cannot be used here.
Memory& memory_of(Device device);

/// One step of an operation: "forward", "backward", "backward_weights".
struct Pass {
  std::string name;
  std::string version;  ///< that was chosen; "" when there is one way only
  std::function<void()> run;
};

/// One case laid out in a device's memory, ready to be run once (`frcnn op`) or many times (`frcnn
/// bench`). Operation::prepare takes from it what was given, checked against the documentation, and
/// puts down outputs, scratch memory and passes.
class Desk {
 public:
  /// Checks names, types and extents. Throws Error that names operation, array and what is wrong.
  Desk(const Operation& op, const Case& given, const Choice& choice);
  ~Desk();
  Desk(const Desk&) = delete;
  Desk& operator=(const Desk&) = delete;

  // ---- what was given
  Device device() const { return choice_.device; }
  const Operation& op() const { return op_; }
  /// "f32", "f64" or "bf16": the parameter, or what the given arrays are.
  const std::string& type() const { return type_; }
  int64_t integer(const std::string& name) const;
  double number(const std::string& name) const;
  bool flag(const std::string& name) const;
  const std::string& text(const std::string& name) const;
  const std::vector<double>& list(const std::string& name) const;
  bool has(const std::string& array) const { return given_.arrays.contains(array); }
  const Array& array(const std::string& name) const;
  const Extent& extent(const std::string& name) const { return array(name).extent(); }
  /// What a letter of the documentation stands for.
  int64_t letter(const std::string& name) const;
  /// The layout of a (N, C, H, W) array in device memory, as the parameter `layout` says.
  kernels::MapLayout map(const std::string& name) const;
  /// The channel block that the parameter `layout` (or another, where it is not "same") means for
  /// a map of so many channels.
  int64_t block(int64_t channels, const std::string& parameter = "layout") const;
  /// The version of a ladder as its enum on a GPU, as an index on the CPU.
  template <typename V = size_t>
  V version(size_t ladder = 0) const {
    return static_cast<V>(version_index(ladder));
  }
  std::string version_name(size_t ladder = 0) const;
  /// Whether the ladder has the version that was asked for.
  bool asked(size_t ladder) const;
  /// Rounds given arrays to numbers that bfloat16 can hold, as maps of that type would.
  void round_to_bfloat16(const std::vector<std::string>& names);

  // ---- device memory, which lives as long as the desk
  /// A given array as numbers of type T; nullptr when an optional one is absent.
  template <typename T>
  T* input(const std::string& name);
  /// A given (N, C, H, W) array in a layout.
  template <typename T>
  T* input_map(const std::string& name, const kernels::MapLayout& layout);
  /// The gradient "d_<output>" in the extent or layout that the output was given; nullptr when
  /// absent.
  template <typename T>
  T* gradient(const std::string& output);
  /// Room for a result, filled with bytes 0xFF (NaN).
  template <typename T>
  T* output(const std::string& name, Extent extent);
  template <typename T>
  T* output_map(const std::string& name, const kernels::MapLayout& layout);
  /// A result that begins as a copy of a given array.
  template <typename T>
  T* updated(const std::string& name, const std::string& input_name);
  template <typename T>
  T* updated_map(const std::string& name, const std::string& input_name,
                 const kernels::MapLayout& layout);
  /// Host values in device memory.
  template <typename T>
  T* constant(const std::vector<T>& values) {
    return static_cast<T*>(upload(values.data(), values.size() * sizeof(T)));
  }
  /// Uninitialised; nullptr for 0 bytes. `zeroed`: zeros.
  void* scratch(size_t bytes, bool zeroed = false);

  // ---- what is to be done
  void pass(const std::string& name, std::function<void()> run, size_t ladder = 0);
  /// The same with the name of a version that no ladder gives.
  void pass_of_version(const std::string& name, const std::string& version,
                       std::function<void()> run) {
    passes_.push_back({name, version, std::move(run)});
  }
  /// Changes the downloaded results at last: entries beyond a count that the device computed.
  void finish(std::function<void(Arrays&)> change) { finish_ = std::move(change); }

  const std::vector<Pass>& passes() const { return passes_; }
  /// Bytes of an input or output in device memory, padding included; 0 when there is none.
  double bytes_of(const std::string& array) const {
    const auto found = bytes_.find(array);
    return found == bytes_.end() ? 0 : found->second;
  }
  const std::map<std::string, double>& bytes() const { return bytes_; }
  Memory& memory() const { return memory_; }
  /// Downloads all outputs. Throws Error when padding channels were not written as zero.
  Arrays results() const;

 private:
  struct Result {
    std::string name;
    Extent extent;
    kernels::MapLayout layout;
    bool is_map = false;
    void* device = nullptr;
    size_t bytes = 0;
    std::function<Array(const std::vector<unsigned char>&, const Result&)> to_array;
  };
  size_t version_index(size_t ladder) const;
  void* upload(const void* host, size_t bytes);
  void* fresh(size_t bytes);
  /// Uploads `own` numbers of T again and again until `count` are there.
  template <typename T>
  T* upload_repeating(const Array& array, int64_t count);
  template <typename T>
  std::vector<T> in_layout(const Array& plain, const kernels::MapLayout& layout) const;
  template <typename T>
  static Array to_array(const std::vector<unsigned char>& bytes, const Result& result);
  template <typename T>
  T* put(const std::string& name, Extent extent, const kernels::MapLayout* layout,
         const std::vector<T>* start);
  const Value& value(const std::string& name) const;

  const Operation& op_;
  Case given_;
  Choice choice_;
  std::string type_;
  std::map<std::string, int64_t> letters_;
  Memory& memory_;
  std::vector<void*> owned_;
  std::vector<Result> results_;
  std::vector<Pass> passes_;
  std::function<void(Arrays&)> finish_;
  std::map<std::string, double> bytes_;
};

/// Runs every pass of a case once.
Arrays run_case(const Operation& op, const Case& given, const Choice& choice);

}  // namespace frcnn::apps::ops
