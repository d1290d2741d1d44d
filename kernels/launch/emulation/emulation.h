#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <source_location>
#include <tuple>
#include <type_traits>
#include <vector>

/// CUDA's execution model on the CPU. A kernel source that includes kernels/launch/gpu.cuh compiles
/// unchanged with the host compiler against this header and runs with CUDA's meaning: blocks of
/// threads with barriers, shared memory, warp shuffles and votes, atomics, asynchronous copies and
/// tensor-core products. It is made for tests: it finds mistakes that a GPU would hide.
///
///   threads      run one after the other on fibers and change places only where they wait
///   barriers     every thread of the block must reach the same one, or Error names who waits where
///   warp calls   all lanes of the mask must make the same call at the same place, else Error
///   shared       every variable is its own heap block (AddressSanitizer sees its end), filled with
///                0xFF bytes (NaN) before each block
///   async copies happen at the wait; until then the target holds 0xFF bytes
///   schedule     in order, reversed or random: a missing barrier changes a result in one of them
///
/// Not covered: races between blocks in the order of plain memory accesses, wgmma, TMA, mbarriers.
namespace frcnn::kernels::emulation {

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr Dim3() = default;
  constexpr Dim3(unsigned x_, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  constexpr uint64_t count() const { return uint64_t{x} * y * z; }
};

/// In which order ready threads of a block, and blocks of a grid, get their turn.
enum class Schedule : uint8_t { in_order, reversed, random };

struct Options {
  Schedule schedule = Schedule::in_order;
  uint64_t seed = 0;            ///< of the random schedule
  bool deferred_copies = true;  ///< false: asynchronous copies happen at once
};

/// Options of every launch of this process while the object lives.
class Scope {
 public:
  explicit Scope(const Options& options);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  Options before_;
};

/// What a running thread sees of itself.
struct Registers {
  Dim3 thread{0, 0, 0}, block{0, 0, 0}, block_dim, grid_dim;
};
extern constinit thread_local Registers registers;

#if defined(__cpp_lib_source_location)
using Place = std::source_location;
#else  // compilers that lack it (clang before 16): without columns
class Place {
 public:
  static constexpr Place current(const char* file = __builtin_FILE(),
                                 unsigned line = __builtin_LINE()) {
    Place place;
    place.file_ = file;
    place.line_ = line;
    return place;
  }
  constexpr const char* file_name() const { return file_; }
  constexpr unsigned line() const { return line_; }
  constexpr unsigned column() const { return 0; }

 private:
  const char* file_ = "";
  unsigned line_ = 0;
};
#endif

/// Runs body() as every thread of every block. Throws Error, naming `kernel`, on a wrong
/// configuration and on whatever the emulation finds.
void run_grid(const char* kernel, Dim3 grid, Dim3 block, size_t shared_bytes,
              const std::function<void()>& body);

/// Appends `work` to the recording of this host thread, if there is one; false: do it now.
bool recorded(const std::function<void()>& work);
/// Records what body() launches and copies instead of doing it.
std::vector<std::function<void()>> record(const std::function<void()>& body);
bool is_recording();

int64_t launches();  ///< run_grid() calls since the program began

// ---- what kernel code calls, through the names that gpu.cuh gives them

/// Waits for all threads of the block; returns how many passed a predicate that is not 0.
int block_barrier(int predicate, const Place& place);

/// The block's variable of this place: `key` is unique for it.
void* shared_variable(const void* key, size_t bytes);
void* dynamic_shared();

/// A call that the lanes of `mask` make together. The last to arrive runs complete(lanes), with the
/// payload of each lane of the warp (nullptr outside the mask); then all go on.
void warp_collective(uint32_t mask, const char* what, void* payload,
                     void (*complete)(void* const* lanes), const Place& place);

/// Copies `bytes` from global to shared memory when the thread waits for the group; the rest of the
/// `size` bytes becomes zero.
void async_copy(void* shared, const void* global, int size, int bytes, const Place& place);
void async_commit();
void async_wait(int groups_left);

[[noreturn]] void kernel_error(const char* message, const Place& place);

struct Exchange {
  uint64_t value = 0, result = 0;
  int source = 0;  ///< lane to read
  bool valid = true;
};
void shuffle(uint32_t mask, Exchange& exchange, const Place& place);
uint32_t ballot(uint32_t mask, bool predicate, const Place& place);
unsigned lane_index();

template <typename T>
T shuffle_from(uint32_t mask, T value, int source, const Place& place) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  Exchange exchange;
  std::memcpy(&exchange.value, &value, sizeof(T));
  exchange.source = source;
  shuffle(mask, exchange, place);
  std::memcpy(&value, &exchange.result, sizeof(T));
  return value;
}

/// The first and one past the last lane of the caller's segment of `width` lanes.
struct Segment {
  int first, end, lane;
};
inline Segment segment_of(int width) {
  const int lane = static_cast<int>(lane_index());
  const int first = lane / width * width;
  return {first, first + width, lane};
}

template <typename Tag>
struct SharedKey {
  static inline const char key = 0;
};
template <typename T, typename Tag>
T& shared_reference(Tag /*unique type of the place*/) {
  return *static_cast<T*>(shared_variable(&SharedKey<Tag>::key, sizeof(T)));
}

/// Arguments are converted once, on the host, as a launch does.
template <typename... Params, typename... Args>
void launch_kernel(const char* name, Dim3 grid, Dim3 block, size_t shared_bytes,
                   void (*kernel)(Params...), Args&&... args) {
  const std::tuple<std::decay_t<Params>...> values(std::forward<Args>(args)...);
  const auto run = [=] {
    run_grid(name, grid, block, shared_bytes, [&] { std::apply(kernel, values); });
  };
  if (!recorded(run)) run();
}

template <typename T, typename Operation>
T atomic_update(T* address, Operation operation) {
  if constexpr (std::is_integral_v<T>) {
    T before = __atomic_load_n(address, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(address, &before, operation(before), true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED)) {
    }
    return before;
  } else {
    std::atomic_ref<T> place(*address);
    T before = place.load(std::memory_order_relaxed);
    while (!place.compare_exchange_weak(before, operation(before), std::memory_order_relaxed)) {
    }
    return before;
  }
}

/// mma.sync fragments as the PTX manual lays them out over the 32 lanes of a warp.
void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                      const Place& place);
void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                       const Place& place);
/// Four 8x8 matrices of 16-bit elements; lane 8 i + r names the address of row r of matrix i.
void load_matrix_x4(uint32_t (&r)[4], const void* row, bool transposed, const Place& place);

}  // namespace frcnn::kernels::emulation
