# Every dependency of the project. scripts/setup.sh installs them all on Debian and Ubuntu.
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(dnnl REQUIRED CONFIG)
find_package(fmt REQUIRED CONFIG)
find_package(spdlog REQUIRED CONFIG)
find_package(pugixml REQUIRED CONFIG)
find_package(tomlplusplus REQUIRED CONFIG)
if(FRCNN_EMULATION)
  find_package(Boost 1.74 REQUIRED COMPONENTS context)  # the fibers of kernels/launch/emulation
endif()
find_path(FRCNN_STB_INCLUDE stb/stb_image.h REQUIRED)
find_path(FRCNN_CLI11_INCLUDE CLI/CLI.hpp REQUIRED)
find_path(FRCNN_JSON_INCLUDE nlohmann/json.hpp REQUIRED)

# HDF5's C library by name: CMake's own FindHDF5 needs the C language and adds HDF5's whole link line.
find_path(FRCNN_HDF5_INCLUDE hdf5.h PATH_SUFFIXES hdf5/serial REQUIRED)
find_library(FRCNN_HDF5_LIBRARY NAMES hdf5_serial hdf5 PATH_SUFFIXES hdf5/serial REQUIRED)
add_library(frcnn_hdf5 INTERFACE)
target_include_directories(frcnn_hdf5 SYSTEM INTERFACE $<BUILD_INTERFACE:${FRCNN_HDF5_INCLUDE}>)
target_link_libraries(frcnn_hdf5 INTERFACE $<BUILD_INTERFACE:${FRCNN_HDF5_LIBRARY}>)
