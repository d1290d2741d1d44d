#include "kernels/launch/emulation/emulation.h"

#include <fmt/format.h>

#include <array>
#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <deque>
#include <exception>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace frcnn::kernels::emulation {
constinit thread_local Registers registers;

namespace {
namespace ctx = boost::context;

constexpr unsigned kWarp = 32;
// AddressSanitizer makes frames several times larger.
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kStackBytes = size_t{512} << 10;
#else
constexpr size_t kStackBytes = size_t{128} << 10;
#endif

Options g_options;                   // NOLINT: set by Scope, on the host, between launches
std::atomic<int64_t> g_launches{0};  // NOLINT

std::string place_text(const Place& place) {
  std::string file = place.file_name();
  const size_t slash = file.rfind('/');
  if (slash != std::string::npos) file.erase(0, slash + 1);
  return fmt::format("{}:{}", file, place.line());
}
bool same(const Place& a, const Place& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         std::strcmp(a.file_name(), b.file_name()) == 0;
}

/// Thrown inside fibers whose block has failed, to unwind them.
struct Cancelled {};

struct PendingCopy {
  void* target = nullptr;
  const void* source = nullptr;
  int size = 0, bytes = 0;
};

struct Fiber;

enum class State : uint8_t { fresh, ready, running, at_barrier, at_collective, done };

/// One CUDA thread of the block that is being run.
struct Thread {
  State state = State::fresh;
  Dim3 index;
  Fiber* fiber = nullptr;  // bound from the first wait on
  Place place;             // where it waits
  int barrier_result = 0;
  uint32_t mask = 0;  // of the collective it waits for
  const char* what = "";
  void* payload = nullptr;
  std::vector<PendingCopy> copies;  // of the group not yet committed
  std::deque<std::vector<PendingCopy>> groups;
};

/// A stack that runs threads one after the other, until one of them waits and keeps it.
struct Fiber {
  ctx::fiber self, scheduler;
  Thread* thread = nullptr;
  const void* stack_bottom = nullptr;  // for AddressSanitizer
  size_t stack_size = 0;
  void* fake_stack = nullptr;
};

/// Remembers the lowest address of the stack it hands out.
struct WatchedStack {
  Fiber* fiber;
  ctx::protected_fixedsize_stack inner{kStackBytes};
  ctx::stack_context allocate() {
    ctx::stack_context context = inner.allocate();
    fiber->stack_bottom = static_cast<const char*>(context.sp) - context.size;
    fiber->stack_size = context.size;
    return context;
  }
  void deallocate(ctx::stack_context& context) { inner.deallocate(context); }
};

struct SharedBlock {
  const void* key = nullptr;
  std::unique_ptr<unsigned char[]> memory;
  size_t bytes = 0;
};

void poison(SharedBlock& block) {
  std::memset(block.memory.get(), 0xFF, block.bytes);
}

uint64_t mix(uint64_t x) {  // splitmix64 (Steele et al., OOPSLA 2014)
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

/// Runs blocks, one at a time, on the calling host thread; kept between launches for its stacks.
class BlockRunner {
 public:
  ~BlockRunner() {
    stopping_ = true;
    for (auto& fiber : fibers_)
      if (fiber->self) resume(*fiber);
  }

  /// `launch` numbers the launches of the program.
  void run(int64_t launch, const char* kernel, Dim3 grid, Dim3 block_dim, Dim3 block,
           size_t shared_bytes, const std::function<void()>& body) {
    begin(launch, kernel, grid, block_dim, block, shared_bytes, body);
    for (;;) {
      const bool fresh_left = next_fresh_ < order_.size();
      if (ready_.empty() && !fresh_left) break;
      // In order: those that can go on, first. Otherwise new threads come as early as may be.
      const bool go_on =
          !ready_.empty() && (!fresh_left || g_options.schedule == Schedule::in_order ||
                              (g_options.schedule == Schedule::random && (random() & 1u) != 0));
      if (go_on) {
        Thread* thread = take_ready();
        resume(*thread->fiber);
      } else {
        resume(idle_fiber());
      }
      if (error_) break;
    }
    if (!error_ && done_ < threads_.size()) error_ = std::make_exception_ptr(deadlock());
    if (error_) {
      unwind();
      std::rethrow_exception(std::exchange(error_, nullptr));
    }
  }

  // ---- called by the running thread

  int barrier(int predicate, const Place& place) {
    Thread& self = *current_;
    self.place = place;
    self.state = State::at_barrier;
    passed_ += predicate != 0 ? 1 : 0;
    if (++arrived_ == threads_.size()) release_barrier();
    suspend();
    return self.barrier_result;
  }

  void collective(uint32_t mask, const char* what, void* payload, void (*complete)(void* const*),
                  const Place& place) {
    Thread& self = *current_;
    const size_t index = static_cast<size_t>(current_ - threads_.data());
    const size_t warp = index / kWarp * kWarp;
    const unsigned lane = static_cast<unsigned>(index % kWarp);
    if ((mask >> lane & 1u) == 0)
      kernel_error(
          fmt::format("{}: lane {} is not in its own mask {:#x}", what, lane, mask).c_str(), place);
    self.place = place;
    self.what = what;
    self.mask = mask;
    self.payload = payload;
    self.state = State::at_collective;
    // All lanes of the mask that exist must be here, with the same call.
    std::array<void*, kWarp> lanes{};
    for (unsigned i = 0; i < kWarp && warp + i < threads_.size(); ++i) {
      if ((mask >> i & 1u) == 0) continue;
      Thread& other = threads_[warp + i];
      if (other.state == State::done)
        kernel_error(
            fmt::format("{}: lane {} of the mask {:#x} has left the kernel", what, i, mask).c_str(),
            place);
      if (other.state != State::at_collective) {
        suspend();
        return;
      }
      if (other.mask != mask || !same(other.place, place))
        kernel_error(
            fmt::format("{} with mask {:#x} by lane {}, but lane {} is in {} with mask {:#x} at {}",
                        what, mask, lane, i, other.what, other.mask, place_text(other.place))
                .c_str(),
            place);
      lanes[i] = other.payload;
    }
    complete(lanes.data());
    const bool all_wait = g_options.schedule != Schedule::in_order;
    for (unsigned i = 0; i < kWarp && warp + i < threads_.size(); ++i) {
      if ((mask >> i & 1u) == 0) continue;
      Thread& other = threads_[warp + i];
      if (&other == &self && !all_wait) continue;
      make_ready(other);
    }
    if (all_wait) {
      suspend();
    } else {
      self.state = State::running;
    }
  }

  void* shared_variable(const void* key, size_t bytes) {
    for (SharedBlock& block : shared_)
      if (block.key == key) return block.memory.get();
    SharedBlock block;
    block.key = key;
    block.bytes = bytes;
    block.memory = std::make_unique<unsigned char[]>(bytes);
    poison(block);
    static_bytes_ += bytes;
    check_shared_size();
    shared_.push_back(std::move(block));
    return shared_.back().memory.get();
  }
  void* dynamic_shared() { return dynamic_.memory.get(); }

  Thread& current() { return *current_; }
  unsigned lane() const {
    return static_cast<unsigned>(static_cast<size_t>(current_ - threads_.data()) % kWarp);
  }
  const char* kernel() const { return kernel_; }

 private:
  void begin(int64_t launch, const char* kernel, Dim3 grid, Dim3 block_dim, Dim3 block,
             size_t shared_bytes, const std::function<void()>& body) {
    kernel_ = kernel;
    body_ = &body;
    registers.grid_dim = grid;
    registers.block_dim = block_dim;
    registers.block = block;
    const auto count = static_cast<size_t>(block_dim.count());
    threads_.resize(count);
    size_t next = 0;
    for (unsigned z = 0; z < block_dim.z; ++z)
      for (unsigned y = 0; y < block_dim.y; ++y)
        for (unsigned x = 0; x < block_dim.x; ++x) {
          Thread& thread = threads_[next++];
          thread.state = State::fresh;
          thread.index = {x, y, z};
          thread.fiber = nullptr;
          thread.copies.clear();
          thread.groups.clear();
        }
    random_state_ =
        mix(g_options.seed ^ mix(block.x + (uint64_t{block.y} << 32) + (uint64_t{block.z} << 48)));
    order_.resize(count);
    std::iota(order_.begin(), order_.end(), size_t{0});
    arrange(order_);
    next_fresh_ = 0;
    ready_.clear();
    done_ = arrived_ = 0;
    passed_ = 0;
    if (launch != launch_) {  // the variables of another kernel
      shared_.clear();
      static_bytes_ = 0;
      launch_ = launch;
    }
    for (SharedBlock& each : shared_) poison(each);
    if (dynamic_.bytes != shared_bytes || !dynamic_.memory) {
      dynamic_.memory = std::make_unique<unsigned char[]>(shared_bytes);
      dynamic_.bytes = shared_bytes;
    }
    poison(dynamic_);
  }

  void check_shared_size() const {
    constexpr size_t kStaticLimit = size_t{48} << 10;
    if (static_bytes_ > kStaticLimit)
      fail("[{}] {} bytes of static shared memory: at most {} are possible", kernel_, static_bytes_,
           kStaticLimit);
  }

  template <typename Items>
  void arrange(Items& items) {
    if (g_options.schedule == Schedule::reversed) std::reverse(items.begin(), items.end());
    if (g_options.schedule == Schedule::random)
      for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[random() % i]);
  }
  uint64_t random() { return random_state_ = mix(random_state_); }

  void make_ready(Thread& thread) {
    thread.state = State::ready;
    ready_.push_back(&thread);
  }
  Thread* take_ready() {
    size_t at = 0;
    if (g_options.schedule == Schedule::reversed) at = ready_.size() - 1;
    if (g_options.schedule == Schedule::random) at = random() % ready_.size();
    Thread* thread = ready_[at];
    ready_.erase(ready_.begin() + static_cast<std::ptrdiff_t>(at));
    return thread;
  }

  void release_barrier() {
    const Thread& first = threads_.front();
    for (const Thread& thread : threads_)
      if (!same(thread.place, first.place))
        kernel_error(fmt::format("divergent barrier: thread {} waits here, thread 0 at {}",
                                 &thread - threads_.data(), place_text(first.place))
                         .c_str(),
                     thread.place);
    for (Thread& thread : threads_) {
      thread.barrier_result = passed_;
      make_ready(thread);
    }
    arrived_ = 0;
    passed_ = 0;
  }

  Error deadlock() const {
    std::string text;
    size_t left = 0;
    for (const Thread& thread : threads_) left += thread.state == State::done ? 1 : 0;
    std::vector<const Thread*> waiting;  // one of each place
    for (const Thread& thread : threads_) {
      if (thread.state == State::done) continue;
      const bool known = std::any_of(waiting.begin(), waiting.end(), [&](const Thread* other) {
        return same(other->place, thread.place);
      });
      if (!known) waiting.push_back(&thread);
    }
    for (const Thread* thread : waiting)
      text += fmt::format("; thread {} waits in {} at {}", thread - threads_.data(),
                          thread->state == State::at_barrier ? "__syncthreads" : thread->what,
                          place_text(thread->place));
    return Error(fmt::format(
        "[{}] block ({}, {}, {}) cannot go on: {} of {} threads have left the kernel{}", kernel_,
        registers.block.x, registers.block.y, registers.block.z, left, threads_.size(), text));
  }

  // ---- fibers

  Fiber& idle_fiber() {
    for (auto& fiber : fibers_)
      if (fiber->thread == nullptr) return *fiber;
    fibers_.push_back(std::make_unique<Fiber>());
    Fiber& fiber = *fibers_.back();
    fiber.self = ctx::fiber(std::allocator_arg, WatchedStack{&fiber},
                            [this, &fiber](ctx::fiber&& scheduler) {
                              arrive_in(fiber);
                              fiber.scheduler = std::move(scheduler);
                              serve(fiber);
                              leave(fiber, true);
                              return std::move(fiber.scheduler);
                            });
    return fiber;
  }

  /// The life of a fiber: start threads as long as there are any, then wait for more.
  void serve(Fiber& fiber) {
    while (!stopping_) {
      while (next_fresh_ < order_.size() && !error_) {
        Thread& thread = threads_[order_[next_fresh_++]];
        fiber.thread = &thread;
        thread.fiber = &fiber;
        thread.state = State::running;
        enter(thread);
        try {
          (*body_)();
          finish(thread);
        } catch (const Cancelled&) {
        } catch (...) {
          if (!error_) error_ = std::current_exception();
        }
        thread.state = State::done;
        fiber.thread = nullptr;
        // Threads that can go on take precedence over new ones: the scheduler decides.
        if (!ready_.empty()) break;
      }
      switch_to_scheduler(fiber);
    }
  }

  void enter(Thread& thread) {
    current_ = &thread;
    registers.thread = thread.index;
  }
  void finish(Thread& thread) {
    ++done_;
    if (!thread.copies.empty() || !thread.groups.empty())
      kernel_error("a thread ends with asynchronous copies that it never waited for",
                   Place::current());
  }

  /// Gives the processor away until the scheduler makes this thread run again.
  void suspend() {
    Thread& self = *current_;
    switch_to_scheduler(*self.fiber);
    if (unwinding_) throw Cancelled{};
    self.state = State::running;
    enter(self);
  }

  void resume(Fiber& fiber) {
#if defined(__SANITIZE_ADDRESS__)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, fiber.stack_bottom, fiber.stack_size);
#endif
    fiber.self = std::move(fiber.self).resume();
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
  }
  void switch_to_scheduler(Fiber& fiber) {
    leave(fiber, false);
    fiber.scheduler = std::move(fiber.scheduler).resume();
    arrive_in(fiber);
  }
  void leave([[maybe_unused]] Fiber& fiber, [[maybe_unused]] bool for_ever) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(for_ever ? nullptr : &fiber.fake_stack, host_bottom_,
                                   host_size_);
#endif
  }
  void arrive_in([[maybe_unused]] Fiber& fiber) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fiber.fake_stack, &host_bottom_, &host_size_);
#endif
  }

  /// After an error: lets every waiting thread leave its kernel by an exception.
  void unwind() {
    unwinding_ = true;
    next_fresh_ = order_.size();
    for (auto& fiber : fibers_)
      if (fiber->thread != nullptr) resume(*fiber);
    unwinding_ = false;
  }

  const char* kernel_ = "";
  const std::function<void()>* body_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<size_t> order_;  // in which fresh threads start
  size_t next_fresh_ = 0;
  std::deque<Thread*> ready_;
  size_t done_ = 0, arrived_ = 0;
  int passed_ = 0;
  Thread* current_ = nullptr;
  std::vector<SharedBlock> shared_;
  int64_t launch_ = 0;
  size_t static_bytes_ = 0;
  SharedBlock dynamic_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::exception_ptr error_;
  bool stopping_ = false, unwinding_ = false;
  uint64_t random_state_ = 0;
#if defined(__SANITIZE_ADDRESS__)
  const void* host_bottom_ = nullptr;
  size_t host_size_ = 0;
#endif
};

BlockRunner& runner() {
  thread_local BlockRunner instance;
  return instance;
}

void check_configuration(const char* kernel, Dim3 grid, Dim3 block, size_t shared_bytes) {
  constexpr unsigned kMaxThreads = 1024, kMaxGridYZ = 65535, kMaxGridX = 2147483647;
  constexpr size_t kMaxShared = size_t{227} << 10;  // of compute capability 9.0
  check(block.count() >= 1 && block.count() <= kMaxThreads && block.x <= 1024 && block.y <= 1024 &&
            block.z <= 64,
        "[{}] a block of {} x {} x {} threads: 1 to {} are possible", kernel, block.x, block.y,
        block.z, kMaxThreads);
  check(grid.count() >= 1 && grid.x <= kMaxGridX && grid.y <= kMaxGridYZ && grid.z <= kMaxGridYZ,
        "[{}] a grid of {} x {} x {} blocks: 1 to {} in x, 1 to {} in y and z are possible", kernel,
        grid.x, grid.y, grid.z, kMaxGridX, kMaxGridYZ);
  check(shared_bytes <= kMaxShared,
        "[{}] {} bytes of dynamic shared memory: at most {} are possible", kernel, shared_bytes,
        kMaxShared);
}

void perform(const PendingCopy& copy) {
  std::memcpy(copy.target, copy.source, static_cast<size_t>(copy.bytes));
  std::memset(static_cast<char*>(copy.target) + copy.bytes, 0,
              static_cast<size_t>(copy.size - copy.bytes));
}
}  // namespace

Scope::Scope(const Options& options) : before_(std::exchange(g_options, options)) {}
Scope::~Scope() {
  g_options = before_;
}

int64_t launches() {
  return g_launches;
}

void run_grid(const char* kernel, Dim3 grid, Dim3 block, size_t shared_bytes,
              const std::function<void()>& body) {
  check_configuration(kernel, grid, block, shared_bytes);
  const int64_t launch = ++g_launches;
  const auto blocks = static_cast<int64_t>(grid.count());
  // Small grids stay on one host thread: starting another costs more than it brings.
  const int64_t grain = std::max<int64_t>(1, 4096 / static_cast<int64_t>(block.count()));
  const Options& options = g_options;
  parallel_for(blocks, grain, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      int64_t b = i;
      if (options.schedule == Schedule::reversed) b = blocks - 1 - i;
      if (options.schedule == Schedule::random)  // a bijection: an odd number times i, modulo a
        b = (i * 2654435761LL + static_cast<int64_t>(mix(options.seed) % 1024)) % blocks;
      if (options.schedule == Schedule::random && std::gcd(blocks, int64_t{2654435761LL}) != 1)
        b = i;
      const Dim3 index(static_cast<unsigned>(b % grid.x),
                       static_cast<unsigned>(b / grid.x % grid.y),
                       static_cast<unsigned>(b / grid.x / grid.y));
      runner().run(launch, kernel, grid, block, index, shared_bytes, body);
    }
  });
}

int block_barrier(int predicate, const Place& place) {
  return runner().barrier(predicate, place);
}
void* shared_variable(const void* key, size_t bytes) {
  return runner().shared_variable(key, bytes);
}
void* dynamic_shared() {
  return runner().dynamic_shared();
}
void warp_collective(uint32_t mask, const char* what, void* payload, void (*complete)(void* const*),
                     const Place& place) {
  runner().collective(mask, what, payload, complete, place);
}
unsigned lane_index() {
  return runner().lane();
}

void kernel_error(const char* message, const Place& place) {
  const Dim3 thread = registers.thread, block = registers.block;
  fail("[{}] {}: {} (block ({}, {}, {}), thread ({}, {}, {}))", runner().kernel(),
       place_text(place), message, block.x, block.y, block.z, thread.x, thread.y, thread.z);
}

void async_copy(void* shared, const void* global, int size, int bytes, const Place& place) {
  const PendingCopy copy{shared, global, size, bytes};
  const auto misaligned = [size](const void* p) {
    return reinterpret_cast<uintptr_t>(p) % static_cast<uintptr_t>(size) != 0;
  };
  if (misaligned(shared) || (bytes > 0 && misaligned(global)))
    kernel_error("an asynchronous copy whose addresses are not multiples of its size", place);
  if (!g_options.deferred_copies) return perform(copy);
  std::memset(shared, 0xFF, static_cast<size_t>(size));
  runner().current().copies.push_back(copy);
}
void async_commit() {
  Thread& self = runner().current();
  self.groups.push_back(std::exchange(self.copies, {}));
}
void async_wait(int groups_left) {
  Thread& self = runner().current();
  while (self.groups.size() > static_cast<size_t>(groups_left)) {
    for (const PendingCopy& copy : self.groups.front()) perform(copy);
    self.groups.pop_front();
  }
}

}  // namespace frcnn::kernels::emulation
