#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <vector>

namespace frcnn::kernels {

/// Threads that parallel loops use: OMP_NUM_THREADS, or what set_num_threads() was given.
/// oneDNN shares the same OpenMP pool, so nothing is oversubscribed.
int num_threads();
void set_num_threads(int threads);

/// Calls body(begin, end) on disjoint ranges that cover [0, count). A range never holds fewer than
/// `grain` items (but for the last), and small loops run on the calling thread. Which thread runs
/// which range never changes a result that body computes per item; reductions across ranges must go
/// through parallel_reduce() to stay independent of the thread count.
template <typename Body>
void parallel_for(int64_t count, int64_t grain, const Body& body) {
  if (count <= 0) return;
  const int64_t most = std::max<int64_t>(1, count / std::max<int64_t>(1, grain));
  const int threads = static_cast<int>(std::min<int64_t>(most, num_threads()));
  if (threads <= 1) {
    body(int64_t{0}, count);
    return;
  }
  std::exception_ptr error;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int t = 0; t < threads; ++t) {
    try {
      body(count * t / threads, count * (t + 1) / threads);
    } catch (...) {
#pragma omp critical(frcnn_parallel_error)
      error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

/// Sums map(begin, end) over fixed blocks of `block` items in block order: the same bits with any
/// number of threads. T needs += and a zero value T{}.
template <typename T, typename Map>
T parallel_reduce(int64_t count, int64_t block, const Map& map) {
  const int64_t blocks = (count + block - 1) / block;
  std::vector<T> parts(static_cast<size_t>(std::max<int64_t>(blocks, 0)));
  parallel_for(blocks, 1, [&](int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b)
      parts[static_cast<size_t>(b)] = map(b * block, std::min(count, (b + 1) * block));
  });
  T total{};
  for (const T& part : parts) total += part;
  return total;
}

}  // namespace frcnn::kernels
