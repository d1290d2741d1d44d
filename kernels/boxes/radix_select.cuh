#pragma once

#include <type_traits>

#include "kernels/launch/scan.cuh"

/// Selection of the k smallest of many (key, index) pairs, digit by digit from the most significant
/// one: a histogram of the digit tells which one the k-th smallest pair has, and only pairs with
/// that digit go on. The index takes part as the last digits, so that no two pairs are equal: the
/// result is one pair, all pairs up to it are selected, and no order of threads can change that.
namespace frcnn::kernels::gpu {

/// Ordered by key, then index.
template <typename Key>
struct alignas(2 * sizeof(Key)) Pair {
  Key key;
  uint32_t index;
};
template <typename Key>
__device__ inline bool operator<(const Pair<Key>& a, const Pair<Key>& b) {
  if constexpr (sizeof(Key) == 4)  // one comparison of 64 bits
    return (uint64_t{a.key} << 32 | a.index) < (uint64_t{b.key} << 32 | b.index);
  else
    return a.key != b.key ? a.key < b.key : a.index < b.index;
}

constexpr int kDigitBits = 11;
constexpr int kDigits = 1 << kDigitBits;

template <typename Key>
constexpr int kKeyPasses = (static_cast<int>(sizeof(Key)) * 8 + kDigitBits - 1) / kDigitBits;

/// Digits of a key and of an index below `capacity`.
template <typename Key>
constexpr int select_passes(int64_t capacity) {
  int passes = kKeyPasses<Key>;
  for (int64_t left = capacity - 1; left > 0; left >>= kDigitBits) ++passes;
  return passes;
}

/// Where a selection stands.
template <typename Key>
struct Search {
  Pair<Key> bound;  // the digits found so far; at the end the last pair that is selected
  int32_t chosen;   // pairs that will be selected
  int32_t left;     // of them, those that share the digits found so far
  int32_t done;     // 1: bound is final

  __device__ bool selects(const Pair<Key>& pair) const { return chosen > 0 && !(bound < pair); }
};

/// Digit number `pass` of `passes`.
template <typename Key>
__device__ inline unsigned digit_of(const Pair<Key>& pair, int pass, int passes) {
  constexpr unsigned kMask = kDigits - 1;
  if (pass < kKeyPasses<Key>)
    return static_cast<unsigned>(pair.key >> ((kKeyPasses<Key> - 1 - pass) * kDigitBits)) & kMask;
  return pair.index >> ((passes - 1 - pass) * kDigitBits) & kMask;
}

/// Whether all digits before number `pass` are those of the bound.
template <typename Key>
__device__ inline bool shares_digits(const Pair<Key>& pair, const Pair<Key>& bound, int pass,
                                     int passes) {
  if (pass == 0) return true;
  if (pass <= kKeyPasses<Key>)
    return ((pair.key ^ bound.key) >> ((kKeyPasses<Key> - pass) * kDigitBits)) == 0;
  return pair.key == bound.key &&
         ((pair.index ^ bound.index) >> ((passes - pass) * kDigitBits)) == 0;
}

/// The search goes on with `digit`, of which the histogram has `in_digit` pairs and `left` are
/// still wanted. When all of them are, the digits that follow do not matter.
template <typename Key>
__device__ inline void take_digit(Search<Key>* search, int pass, int passes, unsigned digit,
                                  int left, int in_digit) {
  Pair<Key>& bound = search->bound;
  const bool in_key = pass < kKeyPasses<Key>;
  const int shift = (in_key ? kKeyPasses<Key> - 1 - pass : passes - 1 - pass) * kDigitBits;
  search->left = left;
  search->done = left == in_digit ? 1 : 0;
  if (in_key)
    bound.key |= static_cast<Key>(digit) << shift;
  else
    bound.index |= digit << shift;
  if (search->done == 0) return;
  if (in_key) bound.key |= (Key{1} << shift) - 1;
  bound.index |= in_key ? 0xFFFFFFFFu : (1u << shift) - 1;
}

/// Finds the digit of a whole histogram. All threads of the block call it; `search` is seen by all
/// of them and changed before they return. `wanted` is how many pairs to select, read at pass 0.
template <int threads, typename Key>
__device__ inline void pick_digit(const unsigned* histogram, int pass, int passes, int64_t wanted,
                                  Search<Key>* search) {
  constexpr int kEach = kDigits / threads;
  static_assert(kEach * threads == kDigits);
  const unsigned first = threadIdx.x * kEach;
  int mine = 0, total = 0;
  for (unsigned i = 0; i < kEach; ++i) mine += static_cast<int>(histogram[first + i]);
  int before = block_scan<threads>(mine, &total);
  int left = search->left;
  if (pass == 0) left = wanted <= 0 ? 0 : wanted < total ? static_cast<int>(wanted) : total;
  __syncthreads();  // everyone has read search->left
  if (pass == 0 && threadIdx.x == 0) {
    search->chosen = left;
    if (left == 0 || left == total) {
      search->done = 1;
      search->bound = {static_cast<Key>(~Key{0}), 0xFFFFFFFFu};
    }
  }
  if ((pass > 0 || left < total) && before < left && left <= before + mine) {
    for (unsigned i = 0; i < kEach; ++i) {
      const int in_digit = static_cast<int>(histogram[first + i]);
      if (left <= before + in_digit) {
        take_digit(search, pass, passes, first + i, left - before, in_digit);
        break;
      }
      before += in_digit;
    }
  }
  __syncthreads();
}

/// Selection by one block: the `wanted` smallest of the pairs that at(i, &pair) gives for i in [0,
/// size); it returns false for entries that take no part. `histogram` is shared memory for kDigits
/// counters, free again afterwards.
template <int threads, typename Key, typename At>
__device__ inline Search<Key> select_in_block(int64_t size, int64_t wanted, int passes,
                                              unsigned* histogram, const At& at) {
  FRCNN_SHARED(Search<Key>, search, [1]);
  __syncthreads();  // the last call's readers are done
  if (threadIdx.x == 0) search[0] = {{0, 0}, 0, 0, 0};
  for (int pass = 0; pass < passes; ++pass) {
    for (int d = static_cast<int>(threadIdx.x); d < kDigits; d += threads) histogram[d] = 0;
    __syncthreads();
    if (search[0].done != 0) break;
    for (int64_t i = threadIdx.x; i < size; i += threads) {
      Pair<Key> pair;
      if (at(i, &pair) && shares_digits(pair, search[0].bound, pass, passes))
        atomicAdd(&histogram[digit_of(pair, pass, passes)], 1u);
    }
    __syncthreads();
    pick_digit<threads>(histogram, pass, passes, wanted, search);
  }
  __syncthreads();
  return search[0];
}

}  // namespace frcnn::kernels::gpu
