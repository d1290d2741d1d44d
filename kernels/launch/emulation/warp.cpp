// What the 32 threads of a warp do together: shuffles, votes, tensor-core products.
#include <fmt/format.h>

#include "kernels/launch/emulation/emulation.h"

namespace frcnn::kernels::emulation {
namespace {
constexpr unsigned kWarp = 32;
constexpr uint32_t kAll = 0xFFFFFFFFu;

struct Vote {
  bool predicate = false;
  uint32_t result = 0;
};

/// Runs multiply(a, b, d) once with the whole matrices of a warp.
struct Fragments {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};

float bits_to_float(uint32_t bits) {
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
float tf32_value(uint32_t bits) {  // the hardware does not see the last 13 bits
  return bits_to_float(bits & 0xFFFFE000u);
}
float bf16_value(uint32_t pair, unsigned half) {
  return bits_to_float(half == 0 ? pair << 16 : pair & 0xFFFF0000u);
}

/// d (16 x 8) += a (16 x K) b (K x 8), both gathered from the lanes' registers.
template <int K>
void multiply(void* const* lanes, float (&a)[16][K], float (&b)[K][8]) {
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    const auto* fragments = static_cast<const Fragments*>(lanes[lane]);
    const unsigned row = lane / 4, column = lane % 4 * 2;
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned r = row + i / 2 * 8, c = column + i % 2;
      float sum = fragments->d[i];
      for (int k = 0; k < K; ++k) sum += a[r][k] * b[k][c];
      fragments->d[i] = sum;
    }
  }
}

/// Tensor-core calls are made by whole warps.
void check_whole_warp(const char* what, const Place& place) {
  const Dim3 dim = registers.block_dim;
  const auto count = dim.count();
  if (count % kWarp != 0)
    kernel_error(
        fmt::format("{} in a block of {} threads, which leaves a partial warp", what, count)
            .c_str(),
        place);
}

struct MatrixLoad {
  const void* row;
  uint32_t* registers;
  bool transposed;
};
}  // namespace

void shuffle(uint32_t mask, Exchange& exchange, const Place& place) {
  warp_collective(
      mask, "a warp shuffle", &exchange,
      [](void* const* lanes) {
        for (unsigned i = 0; i < kWarp; ++i) {
          auto* self = static_cast<Exchange*>(lanes[i]);
          if (self == nullptr) continue;
          const auto* from = static_cast<const Exchange*>(lanes[self->source & 31]);
          self->valid = from != nullptr;
          if (from != nullptr) self->result = from->value;
        }
      },
      place);
  if (!exchange.valid)
    kernel_error(fmt::format("a shuffle reads lane {}, which is not in the mask {:#x} or does not "
                             "exist",
                             exchange.source & 31, mask)
                     .c_str(),
                 place);
}

uint32_t ballot(uint32_t mask, bool predicate, const Place& place) {
  Vote vote{predicate, 0};
  warp_collective(
      mask, "a warp vote", &vote,
      [](void* const* lanes) {
        uint32_t bits = 0;
        for (unsigned i = 0; i < kWarp; ++i)
          if (lanes[i] != nullptr && static_cast<const Vote*>(lanes[i])->predicate) bits |= 1u << i;
        for (unsigned i = 0; i < kWarp; ++i)
          if (lanes[i] != nullptr) static_cast<Vote*>(lanes[i])->result = bits;
      },
      place);
  return vote.result;
}

void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                      const Place& place) {
  check_whole_warp("mma.m16n8k8", place);
  Fragments fragments{d, a, b};
  warp_collective(
      kAll, "mma.m16n8k8", &fragments,
      [](void* const* lanes) {
        float a_matrix[16][8], b_matrix[8][8];
        for (unsigned lane = 0; lane < kWarp; ++lane) {
          const auto* f = static_cast<const Fragments*>(lanes[lane]);
          const unsigned g = lane / 4, t = lane % 4;
          a_matrix[g][t] = tf32_value(f->a[0]);
          a_matrix[g + 8][t] = tf32_value(f->a[1]);
          a_matrix[g][t + 4] = tf32_value(f->a[2]);
          a_matrix[g + 8][t + 4] = tf32_value(f->a[3]);
          b_matrix[t][g] = tf32_value(f->b[0]);
          b_matrix[t + 4][g] = tf32_value(f->b[1]);
        }
        multiply<8>(lanes, a_matrix, b_matrix);
      },
      place);
}

void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                       const Place& place) {
  check_whole_warp("mma.m16n8k16", place);
  Fragments fragments{d, a, b};
  warp_collective(
      kAll, "mma.m16n8k16", &fragments,
      [](void* const* lanes) {
        float a_matrix[16][16], b_matrix[16][8];
        for (unsigned lane = 0; lane < kWarp; ++lane) {
          const auto* f = static_cast<const Fragments*>(lanes[lane]);
          const unsigned g = lane / 4, t = lane % 4;
          for (unsigned i = 0; i < 4; ++i)
            for (unsigned half = 0; half < 2; ++half)
              a_matrix[g + i % 2 * 8][2 * t + i / 2 * 8 + half] = bf16_value(f->a[i], half);
          for (unsigned i = 0; i < 2; ++i)
            for (unsigned half = 0; half < 2; ++half)
              b_matrix[2 * t + i * 8 + half][g] = bf16_value(f->b[i], half);
        }
        multiply<16>(lanes, a_matrix, b_matrix);
      },
      place);
}

void load_matrix_x4(uint32_t (&r)[4], const void* row, bool transposed, const Place& place) {
  check_whole_warp("ldmatrix", place);
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0)
    kernel_error("ldmatrix: the address of a row is not a multiple of 16", place);
  MatrixLoad load{row, r, transposed};
  warp_collective(
      kAll, "ldmatrix", &load,
      [](void* const* lanes) {
        const auto element = [&](unsigned matrix, unsigned i, unsigned j) {
          const auto* from = static_cast<const MatrixLoad*>(lanes[matrix * 8 + i]);
          uint16_t value = 0;
          std::memcpy(&value, static_cast<const uint16_t*>(from->row) + j, sizeof value);
          return uint32_t{value};
        };
        for (unsigned lane = 0; lane < kWarp; ++lane) {
          auto* to = static_cast<MatrixLoad*>(lanes[lane]);
          const unsigned i = lane / 4, j = lane % 4 * 2;
          for (unsigned matrix = 0; matrix < 4; ++matrix)
            to->registers[matrix] = to->transposed
                                        ? element(matrix, j, i) | element(matrix, j + 1, i) << 16
                                        : element(matrix, i, j) | element(matrix, i, j + 1) << 16;
        }
      },
      place);
}

}  // namespace frcnn::kernels::emulation
