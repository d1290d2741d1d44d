# Install rules and the CMake package: find_package(frcnn) gives frcnn::frcnn (everything) and
# frcnn::kernels, frcnn::engine, frcnn::data, frcnn::weights, frcnn::model.
include(CMakePackageConfigHelpers)
set(FRCNN_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/frcnn)

get_property(frcnn_libraries GLOBAL PROPERTY FRCNN_LIBRARIES)
foreach(library IN LISTS frcnn_libraries)
  string(REPLACE "frcnn_" "" folder ${library})
  set_target_properties(${library} PROPERTIES EXPORT_NAME ${folder})
  file(GLOB_RECURSE headers RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS
       ${PROJECT_SOURCE_DIR}/${folder}/*.h ${PROJECT_SOURCE_DIR}/${folder}/*.cuh)
  # Headers that wrap a library which programs using frcnn need not have.
  list(FILTER headers EXCLUDE REGEX "(onednn|onednn_plan|hdf5_handle|checkpoint_format)\\.h$")
  foreach(header IN LISTS headers)
    get_filename_component(directory ${header} DIRECTORY)
    install(FILES ${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/frcnn/${directory})
  endforeach()
endforeach()

add_library(frcnn_all INTERFACE)  # `frcnn` is the program
target_link_libraries(frcnn_all INTERFACE ${frcnn_libraries})
set_target_properties(frcnn_all PROPERTIES EXPORT_NAME frcnn)
add_library(frcnn::frcnn ALIAS frcnn_all)

install(TARGETS ${frcnn_libraries} frcnn_hdf5 frcnn_zip frcnn_protobuf frcnn_onnx
        frcnn_all EXPORT frcnn-targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT frcnn-targets NAMESPACE frcnn:: DESTINATION ${FRCNN_PACKAGE_DIR})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/frcnn-config.cmake.in
  ${PROJECT_BINARY_DIR}/frcnn-config.cmake INSTALL_DESTINATION ${FRCNN_PACKAGE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/frcnn-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/frcnn-config.cmake ${PROJECT_BINARY_DIR}/frcnn-config-version.cmake
        DESTINATION ${FRCNN_PACKAGE_DIR})

if(TARGET frcnn)
  install(TARGETS frcnn RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/configs DESTINATION ${CMAKE_INSTALL_DATADIR}/frcnn
        FILES_MATCHING PATTERN "*.toml")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/README.md
        ${PROJECT_SOURCE_DIR}/CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
