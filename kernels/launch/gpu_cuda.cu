// The CUDA side of kernels/launch/gpu.h. Not compiled for the emulation (gpu_emulated.cpp).
#include <atomic>
#include <memory>

#include "kernels/launch/gpu.cuh"

namespace frcnn::kernels::gpu {
namespace {
struct Counters {
  std::atomic<int64_t> launches{0}, replayed{0}, replays{0}, to_device{0}, to_host{0}, waits{0};
};
Counters& counters() {
  static Counters instance;
  return instance;
}
constexpr Backend kCuda = Backend::cuda;
}  // namespace

void check_cuda(cudaError_t status, const char* call, const char* file, int line) {
  if (status == cudaSuccess) return;
  if (line > 0)
    fail("[cuda] {} at {}:{}: {} ({})", call, file, line, cudaGetErrorString(status),
         cudaGetErrorName(status));
  fail("[{}] {}: {} ({})", file, call, cudaGetErrorString(status), cudaGetErrorName(status));
}
void count_launch() {
  ++counters().launches;
}

template <>
int device_count<kCuda>(std::string* why) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count > 0) return count;
  if (why != nullptr)
    *why = status == cudaSuccess ? "there is no CUDA device" : cudaGetErrorString(status);
  cudaGetLastError();  // forget it
  return 0;
}

template <>
DeviceInfo device_info<kCuda>(int index) {
  std::string why;
  const int count = device_count<kCuda>(&why);
  check(count > 0, "[cuda] no GPU: {}", why);
  check(index >= 0 && index < count, "[cuda] no device {}: there are {}", index, count);
  cudaDeviceProp properties{};
  FRCNN_CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
  DeviceInfo info;
  info.name = properties.name;
  info.multiprocessors = properties.multiProcessorCount;
  info.compute_capability = 10 * properties.major + properties.minor;
  info.memory_bytes = properties.totalGlobalMem;
  info.shared_bytes_per_block = properties.sharedMemPerBlockOptin;
  info.memory_bus_bits = properties.memoryBusWidth;
  FRCNN_CUDA_CHECK(cudaDeviceGetAttribute(&info.clock_khz, cudaDevAttrClockRate, index));
  FRCNN_CUDA_CHECK(
      cudaDeviceGetAttribute(&info.memory_clock_khz, cudaDevAttrMemoryClockRate, index));
  FRCNN_CUDA_CHECK(cudaDriverGetVersion(&info.driver));
  int current = 0;
  FRCNN_CUDA_CHECK(cudaGetDevice(&current));
  if (current == index) {
    size_t total = 0;
    FRCNN_CUDA_CHECK(cudaMemGetInfo(&info.free_bytes, &total));
  }
  return info;
}
template <>
void set_device<kCuda>(int index) {
  FRCNN_CUDA_CHECK(cudaSetDevice(index));
}

template <>
void* allocate<kCuda>(size_t bytes) {
  if (bytes == 0) return nullptr;
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t left = 0, total = 0;
    cudaMemGetInfo(&left, &total);
    fail("[cuda] no memory for {} MiB: {} of {} MiB are free", bytes >> 20, left >> 20,
         total >> 20);
  }
  FRCNN_CUDA_CHECK(status);
  return memory;
}
template <>
void release<kCuda>(void* memory) noexcept {
  cudaFree(memory);
}
template <>
void* allocate_pinned<kCuda>(size_t bytes) {
  void* memory = nullptr;
  if (bytes > 0) FRCNN_CUDA_CHECK(cudaMallocHost(&memory, bytes));
  return memory;
}
template <>
void release_pinned<kCuda>(void* memory) noexcept {
  if (memory != nullptr) cudaFreeHost(memory);
}

template <>
void synchronize<kCuda>(Stream stream) {
  ++counters().waits;
  FRCNN_CUDA_CHECK(cudaStreamSynchronize(stream));
}
template <>
void copy_to_device<kCuda>(Stream stream, void* device, const void* host, size_t bytes) {
  if (bytes == 0) return;
  FRCNN_CUDA_CHECK(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream));
  ++counters().to_device;
}
template <>
void copy_to_host<kCuda>(Stream stream, void* host, const void* device, size_t bytes) {
  if (bytes > 0)
    FRCNN_CUDA_CHECK(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream));
  ++counters().to_host;
  synchronize<kCuda>(stream);
}
template <>
void copy_on_device<kCuda>(Stream stream, void* target, const void* source, size_t bytes) {
  if (bytes > 0)
    FRCNN_CUDA_CHECK(cudaMemcpyAsync(target, source, bytes, cudaMemcpyDeviceToDevice, stream));
}
template <>
void fill_bytes<kCuda>(Stream stream, void* device, int value, size_t bytes) {
  if (bytes > 0) FRCNN_CUDA_CHECK(cudaMemsetAsync(device, value, bytes, stream));
}
template <>
Stream create_stream<kCuda>() {
  Stream stream = nullptr;
  FRCNN_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return stream;
}
template <>
void destroy_stream<kCuda>(Stream stream) noexcept {
  cudaStreamDestroy(stream);
}

template <>
Activity activity<kCuda>() {
  const Counters& c = counters();
  return {c.launches, c.replayed, c.replays, c.to_device, c.to_host, c.waits};
}

template <>
struct Event<kCuda>::State {
  cudaEvent_t event = nullptr;
  bool recorded = false;
};
template <>
Event<kCuda>::Event() : state_(new State) {
  FRCNN_CUDA_CHECK(cudaEventCreateWithFlags(&state_->event, cudaEventDisableTiming));
}
template <>
Event<kCuda>::~Event() {
  cudaEventDestroy(state_->event);
  delete state_;
}
template <>
void Event<kCuda>::record(Stream stream) {
  FRCNN_CUDA_CHECK(cudaEventRecord(state_->event, stream));
  state_->recorded = true;
}
template <>
void Event<kCuda>::wait() {
  if (!state_->recorded || cudaEventQuery(state_->event) == cudaSuccess) return;
  ++counters().waits;
  FRCNN_CUDA_CHECK(cudaEventSynchronize(state_->event));
}

template <>
struct Graph<kCuda>::State {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  int64_t launches = 0;  // of one replay
  ~State() {
    if (executable != nullptr) cudaGraphExecDestroy(executable);
    if (graph != nullptr) cudaGraphDestroy(graph);
  }
};
template <>
Graph<kCuda>::Graph(Stream stream, const std::function<void()>& body) : state_(nullptr) {
  auto state = std::make_unique<State>();
  const int64_t before = counters().launches;
  FRCNN_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  try {
    body();
  } catch (...) {
    cudaStreamEndCapture(stream, &state->graph);
    cudaGetLastError();
    throw;
  }
  FRCNN_CUDA_CHECK(cudaStreamEndCapture(stream, &state->graph));
  FRCNN_CUDA_CHECK(cudaGraphInstantiate(&state->executable, state->graph, 0));
  state->launches = counters().launches - before;
  counters().launches = before;  // recorded, not done
  state_ = state.release();
}
template <>
Graph<kCuda>::~Graph() {
  delete state_;
}
template <>
void Graph<kCuda>::replay(Stream stream) const {
  FRCNN_CUDA_CHECK(cudaGraphLaunch(state_->executable, stream));
  counters().launches += state_->launches;
  counters().replayed += state_->launches;
  ++counters().replays;
}

template <>
struct StreamTimer<kCuda>::State {
  Stream stream = nullptr;
  cudaEvent_t begin = nullptr, end = nullptr;
};
template <>
StreamTimer<kCuda>::StreamTimer(Stream stream) : state_(new State) {
  state_->stream = stream;
  FRCNN_CUDA_CHECK(cudaEventCreate(&state_->begin));
  FRCNN_CUDA_CHECK(cudaEventCreate(&state_->end));
}
template <>
StreamTimer<kCuda>::~StreamTimer() {
  cudaEventDestroy(state_->begin);
  cudaEventDestroy(state_->end);
  delete state_;
}
template <>
void StreamTimer<kCuda>::start() {
  FRCNN_CUDA_CHECK(cudaEventRecord(state_->begin, state_->stream));
}
template <>
double StreamTimer<kCuda>::stop() {
  FRCNN_CUDA_CHECK(cudaEventRecord(state_->end, state_->stream));
  FRCNN_CUDA_CHECK(cudaEventSynchronize(state_->end));
  ++counters().waits;
  float milliseconds = 0;
  FRCNN_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, state_->begin, state_->end));
  return milliseconds * 1e-3;
}

}  // namespace frcnn::kernels::gpu
