#include "kernels/launch/parallel.h"

#include <omp.h>

namespace frcnn::kernels {

int num_threads() {
  return omp_in_parallel() ? 1 : omp_get_max_threads();
}

void set_num_threads(int threads) {
  omp_set_num_threads(std::max(1, threads));
}

}  // namespace frcnn::kernels
