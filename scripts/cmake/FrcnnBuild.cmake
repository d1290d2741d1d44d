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
  target_compile_options(frcnn_options INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=address,undefined>
    $<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize-recover=all>
    $<$<COMPILE_LANGUAGE:CXX>:-fno-omit-frame-pointer>)
  target_link_options(frcnn_options INTERFACE -fsanitize=address,undefined)
endif()

# frcnn_add_library(<folder> [LINKS <public...>] [PRIVATE_LINKS <private...>])
# Makes the static library frcnn_<folder> from every .cpp below the calling folder.
function(frcnn_add_library folder)
  cmake_parse_arguments(ARG "" "" "LINKS;PRIVATE_LINKS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
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
