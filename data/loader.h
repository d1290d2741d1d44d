#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "data/augment.h"
#include "data/dataset.h"
#include "data/transforms.h"

namespace frcnn {

struct LoaderSettings {
  InputSettings input;
  int batch = 1;
  uint64_t seed = 1;
  bool shuffle = true;  ///< a new order each epoch; false: the data set's
  bool flip = true;     ///< each picture mirrored with probability 1/2, decided anew each epoch
  int workers = 1;      ///< decoding threads
  int prefetch = 4;     ///< batches ready or in work ahead of the consumer, at least 1
  std::vector<int> shorter_sides;  ///< multi-scale: one of them in place of input.shorter_side
  bool endless = true;  ///< false: next() ends after one epoch (the last batch may be smaller)
  AugmentSettings augment = {};
  bool group_shapes = false;  ///< with shuffle: batches of wide or of tall pictures alone
  double balance =
      0;  ///< with shuffle: repeat_factors() by this share (data/epoch_plan.h); 0: none
};

/// Where a stream of pictures stands: the next one is number `position` of epoch `epoch`.
struct LoaderCursor {
  int64_t epoch = 0;
  int64_t position = 0;
  bool operator==(const LoaderCursor&) const = default;
};

struct Batch {
  /// In order of their padded sizes, so that equal ones are neighbours and pass through the network
  /// together; those of one size in the order of the stream.
  std::vector<Sample> samples;
  LoaderCursor cursor;  ///< after this batch: a loader started from here goes on with the next one
};

/// Pictures of one epoch in their order, a permutation that depends only on (seed, epoch): Fisher
/// and Yates' shuffle with numbers of kStreamShuffle.
std::vector<int64_t> epoch_order(int64_t images, uint64_t seed, int64_t epoch);

/// Whether picture `index` is mirrored in an epoch: depends only on (seed, epoch, index).
bool epoch_flip(uint64_t seed, int64_t epoch, int64_t index);

/// Which of `choices` scales picture `index` has in an epoch: depends only on (seed, epoch, index).
int64_t epoch_scale(uint64_t seed, int64_t epoch, int64_t index, int64_t choices);

/// Picture `index` as an epoch has it: decoded, augmented, mirrored, resized. `copy` counts its
/// copies in the epoch, which differ. Depends on the data set, the settings and (seed, epoch,
/// index, copy) alone. Throws Error where a picture cannot be read or is not as large as its
/// annotation says.
Sample load_sample(const Dataset& dataset, const LoaderSettings& settings, int64_t epoch,
                   int64_t index, int64_t copy = 0);

/// Decodes and transforms pictures on worker threads, ahead of its consumer. What next() returns
/// depends only on data set, settings and start, never on the number of workers or their timing. An
/// endless stream joins its epochs without a gap: a batch may hold the last pictures of one epoch
/// and the first of the next. `next()` may be called from one thread only.
class Loader {
 public:
  /// The data set must outlive the loader. Throws Error when it has no picture.
  Loader(const Dataset& dataset, const LoaderSettings& settings, LoaderCursor start = {});
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// The next batch; empty samples after the end of a stream that is not endless. An Error of a
  /// worker (say, a picture that cannot be decoded) is thrown here when its turn has come.
  Batch next();

  /// Batches that a stream from the start of one epoch gives, rounded up.
  int64_t batches_per_epoch() const;

  /// Seconds that next() has spent waiting so far.
  double wait_seconds() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace frcnn
