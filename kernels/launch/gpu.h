#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

struct CUstream_st;  // CUDA's own name of what a stream points to

/// Host side of the GPU kernels: where they run, memory, copies. Knows no CUDA header, so that all
/// code can include it. Kernels themselves include kernels/launch/gpu.cuh.
namespace frcnn::kernels {

/// Every kernel source (.cu) is compiled twice: by nvcc for a GPU, and by the host compiler for the
/// emulation of CUDA's execution model on the CPU (kernels/launch/emulation). Functions of
/// namespace gpu are templates over the backend; those of `cuda` exist when FRCNN_CUDA is on, those
/// of `emulated` when FRCNN_EMULATION is.
enum class Backend : uint8_t { cuda, emulated };

constexpr const char* backend_name(Backend backend) {
  return backend == Backend::cuda ? "cuda" : "emulated";
}

namespace gpu {

/// A CUDA stream (cudaStream_t); nullptr is the default stream. The emulation runs every launch to
/// its end before it returns, whatever the stream.
using Stream = ::CUstream_st*;

struct DeviceInfo {
  std::string name;
  int multiprocessors = 0;
  int compute_capability = 0;  ///< 10 * major + minor: 90 for Hopper
  size_t memory_bytes = 0, free_bytes = 0;
  size_t shared_bytes_per_block = 0;  ///< most that a kernel may ask for (opt-in included)
  int clock_khz = 0, memory_clock_khz = 0, memory_bus_bits = 0;
  int driver = 0;  ///< the driver's CUDA version: 1000 * major + 10 * minor
};

/// Number of usable devices; 0 without a driver, without a device, or with a driver that is too old
/// for this build. Never throws. `why`, unless nullptr, receives the reason for 0.
template <Backend backend>
int device_count(std::string* why = nullptr);

/// Throws Error when there is no device `index`.
template <Backend backend>
DeviceInfo device_info(int index = 0);

/// Makes `index` the device of this host thread.
template <Backend backend>
void set_device(int index);

/// Device memory, aligned to 256 bytes; nullptr for 0 bytes. Throws Error when there is too little.
template <Backend backend>
void* allocate(size_t bytes);
template <Backend backend>
void release(void* memory) noexcept;

/// Page-locked host memory, which copies to and from the device need to run beside other work.
template <Backend backend>
void* allocate_pinned(size_t bytes);
template <Backend backend>
void release_pinned(void* memory) noexcept;

/// Copies are ordered with the launches of their stream. copy_to_host() has the data on return: it
/// waits for the stream.
template <Backend backend>
void copy_to_device(Stream stream, void* device, const void* host, size_t bytes);
template <Backend backend>
void copy_to_host(Stream stream, void* host, const void* device, size_t bytes);
template <Backend backend>
void copy_on_device(Stream stream, void* target, const void* source, size_t bytes);
/// Sets every byte to `value`.
template <Backend backend>
void fill_bytes(Stream stream, void* device, int value, size_t bytes);

/// Waits until all work of the stream is done, and throws Error when some of it failed.
template <Backend backend>
void synchronize(Stream stream);

template <Backend backend>
Stream create_stream();
template <Backend backend>
void destroy_stream(Stream stream) noexcept;

/// One step of a kernel's version ladder. Every op with a ladder has an enum <Op>Version, naive
/// first, and an array k<Op>Versions that it indexes; tests and benchmarks walk over the array.
struct KernelVersion {
  const char* name;      ///< "naive", "tiled", "mma_bf16"
  const char* idea;      ///< the one idea that it adds, in a line
  int capability = 75;   ///< least compute capability
  bool emulated = true;  ///< false: uses hardware that the emulation does not cover
};

/// What the host has asked of a backend since the program began. A training step between two log
/// points may not add to `waits`.
struct Activity {
  int64_t launches = 0;   ///< kernels, those of replayed graphs included
  int64_t replayed = 0;   ///< of them: by Graph::replay()
  int64_t replays = 0;    ///< calls of Graph::replay()
  int64_t to_device = 0;  ///< copies
  int64_t to_host = 0;    ///< copies; each is a wait, too
  int64_t waits = 0;      ///< times the host stood still for the device
};
template <Backend backend>
Activity activity();

/// A point in a stream that the host can wait for.
template <Backend backend>
class Event {
 public:
  Event();
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  /// Moves the point behind all work that the stream has now.
  void record(Stream stream);
  /// Waits until the device has come past the point; returns at once when it was never recorded.
  void wait();

 private:
  struct State;
  State* state_;
};

/// A sequence of launches and copies that is recorded once and then started as a whole: a CUDA
/// graph. Arguments of kernels are those of the recording, so whatever changes from one replay to
/// the next (inputs, rates, numbers of steps) must lie in device memory. copy_to_host() and
/// synchronize() throw Error while a stream is recorded. Memory that the recording used must stay.
template <Backend backend>
class Graph {
 public:
  /// Calls body(), whose work on `stream` is recorded and not done. `stream` may not be the default
  /// stream of a GPU.
  Graph(Stream stream, const std::function<void()>& body);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  void replay(Stream stream) const;

 private:
  struct State;
  State* state_;
};

/// Seconds between two points of a stream, measured by the device itself (CUDA events; the host's
/// clock under emulation).
template <Backend backend>
class StreamTimer {
 public:
  explicit StreamTimer(Stream stream);
  ~StreamTimer();
  StreamTimer(const StreamTimer&) = delete;
  StreamTimer& operator=(const StreamTimer&) = delete;
  void start();
  /// Waits for everything since start().
  double stop();

 private:
  struct State;
  State* state_;
};

}  // namespace gpu
}  // namespace frcnn::kernels
