#include "kernels/boxes/sample.h"

#include <algorithm>

#include "kernels/boxes/radix_select.cuh"

namespace frcnn::kernels::gpu {
namespace {

constexpr int kThreads = 256;
constexpr int kBlockThreads = 1024;

/// Memory of a call: a random number for each entry and (naive) whether it stays, rows of
/// `capacity`.
struct Work {
  uint32_t* tickets;
  uint8_t* stays;
  Work(void* workspace, const Segments& segments)
      : tickets(static_cast<uint32_t*>(workspace)),
        stays(reinterpret_cast<uint8_t*>(tickets + segments.count * segments.capacity)) {}
};

/// One thread per four entries, which is what one call of Philox gives.
__global__ void tickets_kernel(const Segments segments, RandomKey key, const uint64_t* step,
                               Work work) {
  const int64_t s = blockIdx.y, size = segments.size(s);
  if (step != nullptr) key.step = *step;
  key.stream += kStreamStride * static_cast<uint32_t>(s);
  uint32_t* row = work.tickets + s * segments.capacity;
  for (int64_t group = grid_first(); 4 * group < size; group += grid_step()) {
    const std::array<uint32_t, 4> bits = random_bits4(key, static_cast<uint64_t>(group));
    for (int k = 0; k < 4; ++k)
      if (4 * group + k < size) row[4 * group + k] = bits[static_cast<size_t>(k)];
  }
}

struct Output {
  int64_t batch;
  int32_t *counts, *chosen;
};

/// By one block: sets the labels of entries that do not stay to -1, lists and counts the others.
/// stays(i) reads no label but the one of entry i.
template <typename Stays>
__device__ void finish(const Segments& segments, int64_t s, int32_t* labels, const Output& output,
                       const Stays& stays) {
  const int64_t first = segments.first(s), size = segments.size(s);
  const int64_t end = segments.offsets == nullptr ? segments.capacity : size;
  int64_t positives = 0, negatives = 0;
  for (int64_t start = 0; start < end; start += kBlockThreads) {
    const int64_t i = start + threadIdx.x;
    const int32_t label = i < size ? labels[first + i] : -1;
    const bool stay = label >= 0 && stays(i);
    // Both counts in one number: at most 1024 each.
    int totals = 0;
    const int before = block_scan<kBlockThreads>(!stay ? 0 : label > 0 ? 1 : 1 << 16, &totals);
    if (i < end && !stay) labels[first + i] = -1;
    if (stay && output.chosen != nullptr)
      output.chosen[s * output.batch + positives + negatives + (before & 0xFFFF) + (before >> 16)] =
          static_cast<int32_t>(first + i);
    positives += totals & 0xFFFF;
    negatives += totals >> 16;
  }
  if (output.chosen != nullptr)
    for (int64_t i = positives + negatives + threadIdx.x; i < output.batch; i += kBlockThreads)
      output.chosen[s * output.batch + i] = -1;
  if (threadIdx.x == 0) {
    output.counts[2 * s] = static_cast<int32_t>(positives);
    output.counts[2 * s + 1] = static_cast<int32_t>(negatives);
  }
}

__global__ void rank_kernel(const SampleParams params, const Segments segments,
                            const int32_t* all_labels, Work work) {
  const int64_t s = blockIdx.y, size = segments.size(s);
  const int32_t* labels = all_labels + segments.first(s);
  const uint32_t* tickets = work.tickets + s * segments.capacity;
  for (int64_t i = grid_first(); i < size; i += grid_step()) {
    const bool positive = labels[i] > 0;
    const Pair<uint32_t> own = {tickets[i], static_cast<uint32_t>(i)};
    int64_t smaller = 0, positives = 0;
    for (int64_t j = 0; j < size; ++j) {
      positives += labels[j] > 0 ? 1 : 0;
      const Pair<uint32_t> other = {tickets[j], static_cast<uint32_t>(j)};
      if (labels[j] >= 0 && (labels[j] > 0) == positive && other < own) ++smaller;
    }
    int64_t wanted = std::max<int64_t>(0, std::min(params.max_positive, params.batch));
    if (!positive) wanted = params.batch - std::min(wanted, positives);
    work.stays[s * segments.capacity + i] = smaller < wanted ? 1 : 0;
  }
}

__global__ void __launch_bounds__(kBlockThreads, 1)
    apply_kernel(const Segments segments, int32_t* labels, Work work, Output output) {
  const int64_t s = blockIdx.x;
  const uint8_t* row = work.stays + s * segments.capacity;
  finish(segments, s, labels, output, [&](int64_t i) { return row[i] != 0; });
}

__global__ void __launch_bounds__(kBlockThreads, 1)
    radix_kernel(const SampleParams params, const Segments segments, int passes, int32_t* labels,
                 Work work, Output output) {
  FRCNN_SHARED(unsigned, histogram, [kDigits]);
  const int64_t s = blockIdx.x, size = segments.size(s);
  const int32_t* row = labels + segments.first(s);
  const uint32_t* tickets = work.tickets + s * segments.capacity;
  const auto pair_of = [&](int64_t i) {
    return Pair<uint32_t>{tickets[i], static_cast<uint32_t>(i)};
  };
  const auto select = [&](bool positive, int64_t wanted) {
    const auto of_this_kind = [&](int64_t i, Pair<uint32_t>* pair) {
      if (row[i] < 0 || (row[i] > 0) != positive) return false;
      *pair = pair_of(i);
      return true;
    };
    return select_in_block<kBlockThreads, uint32_t>(size, wanted, passes, histogram, of_this_kind);
  };
  const Search<uint32_t> positive = select(true, std::min(params.max_positive, params.batch));
  const Search<uint32_t> negative = select(false, params.batch - positive.chosen);
  finish(segments, s, labels, output,
         [&](int64_t i) { return (row[i] > 0 ? positive : negative).selects(pair_of(i)); });
}

}  // namespace

template <Backend backend>
size_t sample_workspace(const Segments& segments, SampleVersion version) {
  const auto entries = static_cast<size_t>(segments.count * segments.capacity);
  return entries * (sizeof(uint32_t) + (version == SampleVersion::naive ? 1 : 0));
}

template <Backend backend>
void sample_labels(Stream stream, const SampleParams& params, const RandomKey& key,
                   const Segments& segments, int32_t* labels, int32_t* counts, int32_t* chosen,
                   void* workspace, const uint64_t* step, SampleVersion version) {
  const auto lists = static_cast<unsigned>(segments.count);
  const Work work(workspace, segments);
  const Output output{params.batch, counts, chosen};
  launch({"sample_tickets", Dim3(blocks_for(segments.capacity, 4 * kThreads), lists), kThreads, 0,
          stream},
         tickets_kernel, segments, key, step, work);
  if (version == SampleVersion::naive) {
    launch(
        {"sample_rank", Dim3(blocks_for(segments.capacity, kThreads), lists), kThreads, 0, stream},
        rank_kernel, params, segments, labels, work);
    launch({"sample_apply", lists, kBlockThreads, 0, stream}, apply_kernel, segments, labels, work,
           output);
  } else {
    launch({"sample_radix", lists, kBlockThreads, 0, stream}, radix_kernel, params, segments,
           select_passes<uint32_t>(segments.capacity), labels, work, output);
  }
}

template size_t sample_workspace<kBackend>(const Segments&, SampleVersion);
template void sample_labels<kBackend>(Stream, const SampleParams&, const RandomKey&,
                                      const Segments&, int32_t*, int32_t*, int32_t*, void*,
                                      const uint64_t*, SampleVersion);

}  // namespace frcnn::kernels::gpu
