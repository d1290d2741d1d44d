# Compiler settings shared by every target, and frcnn_add_library(): one static library per folder.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

if(FRCNN_CCACHE)
  find_program(FRCNN_CCACHE_PROGRAM ccache)
  if(FRCNN_CCACHE_PROGRAM)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${FRCNN_CCACHE_PROGRAM})
  endif()
endif()

include(FrcnnCuda)

add_library(frcnn_options INTERFACE)
target_compile_options(frcnn_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Wshadow;-Wnon-virtual-dtor>)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # False alarms of GCC 12: on std::string's operator+ (its bug 105651) and on aggregates that hold
  # strings with default values.
  target_compile_options(frcnn_options INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict;-Wno-maybe-uninitialized>)
endif()
if(FRCNN_WERROR)
  target_compile_options(frcnn_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
if(FRCNN_SANITIZE)
  # What the three left out would find, AddressSanitizer finds too; they cost a quarter of the
  # compiler's time.
  target_compile_options(frcnn_options INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=address,undefined>
    $<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize=null,object-size,vptr>
    $<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize-recover=all>
    $<$<COMPILE_LANGUAGE:CXX>:-fno-omit-frame-pointer>)
  target_link_options(frcnn_options INTERFACE -fsanitize=address,undefined)
endif()

if(FRCNN_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES Clang)
    message(FATAL_ERROR "FRCNN_FUZZ needs Clang, whose libFuzzer the targets are linked with: "
                        "cmake -DCMAKE_CXX_COMPILER=clang++-14, or scripts/fuzz.sh, does it.")
  endif()
  target_compile_options(frcnn_options INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=fuzzer-no-link,address,undefined>
    $<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize-recover=all>
    $<$<COMPILE_LANGUAGE:CXX>:-fno-omit-frame-pointer>)
  target_link_options(frcnn_options INTERFACE -fsanitize=address,undefined)
endif()

# frcnn_add_library(<folder> [LINKS <public...>] [PRIVATE_LINKS <private...>])
# Makes the static library frcnn_<folder> from every .cpp below the calling folder.
function(frcnn_add_library folder)
  cmake_parse_arguments(ARG "" "" "LINKS;PRIVATE_LINKS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/launch/emulation/")
  if(NOT sources)  # a folder of headers only
    set(sources ${CMAKE_CURRENT_BINARY_DIR}/empty.cpp)
    file(WRITE ${sources} "")
  endif()
  add_library(frcnn_${folder} STATIC ${sources})
  target_include_directories(frcnn_${folder} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/frcnn>)
  target_compile_features(frcnn_${folder} PUBLIC cxx_std_20)
  target_link_libraries(frcnn_${folder} PUBLIC ${ARG_LINKS}
                        PRIVATE $<BUILD_INTERFACE:frcnn_options> ${ARG_PRIVATE_LINKS})
  set_property(GLOBAL APPEND PROPERTY FRCNN_LIBRARIES frcnn_${folder})
endfunction()

# frcnn_add_gpu_kernels()
# Makes frcnn_gpu, the kernels::gpu functions of every backend that is switched on, from every .cu
# below the calling folder: frcnn_kernels_cuda by nvcc, frcnn_kernels_emulated by the host compiler.
function(frcnn_add_gpu_kernels)
  file(GLOB_RECURSE kernels RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} CONFIGURE_DEPENDS
       ${CMAKE_CURRENT_SOURCE_DIR}/*.cu)
  add_library(frcnn_gpu INTERFACE)
  target_link_libraries(frcnn_gpu INTERFACE frcnn_kernels)
  set_property(GLOBAL APPEND PROPERTY FRCNN_LIBRARIES frcnn_gpu)

  if(FRCNN_EMULATION)
    # A source can have one language per folder: each .cu is included by a file of one line.
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/launch/emulation/*.cpp)
    foreach(kernel IN LISTS kernels)
      if(NOT kernel STREQUAL launch/gpu_cuda.cu)
        set(wrapper ${CMAKE_CURRENT_BINARY_DIR}/emulated/${kernel}.cpp)
        file(CONFIGURE OUTPUT ${wrapper} CONTENT "#include \"kernels/${kernel}\"\n")
        list(APPEND sources ${wrapper})
      endif()
    endforeach()
    add_library(frcnn_kernels_emulated STATIC ${sources})
    # As on a GPU: reinterpreting memory is allowed, products and sums are fused only where written.
    target_compile_options(frcnn_kernels_emulated PRIVATE
      -fno-strict-aliasing -ffp-contract=off -Wno-unknown-pragmas
      -Wno-subobject-linkage)  # a source that is included may use its anonymous namespace
    target_link_libraries(frcnn_kernels_emulated PUBLIC frcnn_kernels
                          PRIVATE $<BUILD_INTERFACE:frcnn_options> Boost::context)
    target_compile_definitions(frcnn_gpu INTERFACE FRCNN_HAVE_EMULATION=1)
    target_link_libraries(frcnn_gpu INTERFACE frcnn_kernels_emulated)
    set_property(GLOBAL APPEND PROPERTY FRCNN_LIBRARIES frcnn_kernels_emulated)
  endif()

  if(FRCNN_CUDA)
    add_library(frcnn_kernels_cuda STATIC ${kernels})
    target_compile_definitions(frcnn_kernels_cuda PRIVATE FMT_USE_CONSTEXPR=1)  # fmt 9 errs on nvcc
    target_compile_options(frcnn_kernels_cuda PRIVATE
      $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr -Xcompiler=-Wall,-Wextra>)
    if(FRCNN_WERROR)
      target_compile_options(frcnn_kernels_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>)
    endif()
    target_link_libraries(frcnn_kernels_cuda PUBLIC frcnn_kernels PRIVATE CUDA::cudart_static)
    target_compile_definitions(frcnn_gpu INTERFACE FRCNN_HAVE_CUDA=1)
    target_link_libraries(frcnn_gpu INTERFACE frcnn_kernels_cuda)
    set_property(GLOBAL APPEND PROPERTY FRCNN_LIBRARIES frcnn_kernels_cuda)
  endif()
endfunction()
