# The CUDA language, when FRCNN_CUDA asks for it. Fails here, at configure time, when there is no
# toolkit or when it does not take C++20.
if(NOT FRCNN_CUDA)
  return()
endif()

# The toolkit's installer does not put nvcc on PATH.
find_program(FRCNN_NVCC nvcc HINTS ENV CUDACXX ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda
             PATH_SUFFIXES bin)
if(NOT FRCNN_NVCC)
  message(FATAL_ERROR "FRCNN_CUDA=ON, but no nvcc on PATH, in CUDA_HOME or in /usr/local/cuda/bin. "
                      "Install the CUDA toolkit, or configure with -DFRCNN_CUDA=OFF.")
endif()
set(CMAKE_CUDA_COMPILER ${FRCNN_NVCC} CACHE FILEPATH "nvcc")
set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
# Machine code for A100, other Ampere, Ada and Hopper cards, for Hopper with its own instructions
# (90a: wgmma, TMA), and PTX that the driver of a newer card translates. Preset cuda-all has more.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 86-real 89-real 90a-real 90-virtual CACHE STRING
      "GPU architectures to compile for (75 or newer)")
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)

include(CheckSourceCompiles)
set(CMAKE_REQUIRED_FLAGS -std=c++20)
check_source_compiles(CUDA "
  #include <concepts>
  template <std::floating_point T> __global__ void twice(T* x) { x[threadIdx.x] *= 2; }
  int main() { twice<float><<<1, 1>>>(nullptr); }" FRCNN_CUDA_COMPILES)
unset(CMAKE_REQUIRED_FLAGS)
if(NOT FRCNN_CUDA_COMPILES)
  message(FATAL_ERROR "${FRCNN_NVCC} does not compile a C++20 kernel with ${CMAKE_CXX_COMPILER}. "
                      "CUDA 12 or newer is needed; see CMakeFiles/CMakeError.log.")
endif()

# CMake 3.25 does not know that nvcc takes C++20.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)

message(STATUS "CUDA ${CMAKE_CUDA_COMPILER_VERSION}, architectures ${CMAKE_CUDA_ARCHITECTURES}")
