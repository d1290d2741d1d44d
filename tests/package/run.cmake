# The steps of the package test. Variables: see CMakeLists.txt.
function(step what)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${what} failed (${status}):\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK})
step("install" ${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix)

# Nothing outside the prefix, also when packaged with DESTDIR.
step("staged install" ${CMAKE_COMMAND} -E env DESTDIR=${WORK}/stage
     ${CMAKE_COMMAND} --install ${BUILD} --prefix /opt/frcnn)
file(GLOB staged RELATIVE ${WORK}/stage ${WORK}/stage/* ${WORK}/stage/opt/*)
if(NOT staged STREQUAL "opt;opt/frcnn")
  message(FATAL_ERROR "staged install wrote to: ${staged}")
endif()

# The package must not remember where it was built.
file(GLOB files ${WORK}/prefix/${LIBDIR}/cmake/frcnn/*.cmake)
foreach(file IN LISTS files)
  file(READ ${file} text)
  foreach(path ${SOURCE} ${BUILD} ${WORK})
    string(FIND "${text}" "${path}" position)
    if(NOT position EQUAL -1)
      message(FATAL_ERROR "${file} holds the path ${path}")
    endif()
  endforeach()
endforeach()

# Moved elsewhere, it still works.
file(RENAME ${WORK}/prefix ${WORK}/moved)
step("configuring the example" ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/example -B ${WORK}/build
     -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER=${CXX}
     -DCMAKE_PREFIX_PATH=${WORK}/moved -DCMAKE_CXX_FLAGS=-Wall)
step("building the example" ${CMAKE_COMMAND} --build ${WORK}/build)
step("making a checkpoint" ${INPUTS} ${WORK})
step("the example" ${WORK}/build/detect_example ${WORK}/model.h5 ${WORK}/picture.png)
if(NOT output MATCHES "(square|circle) +0\\.[0-9]+  x [0-9.]+ \\.\\. [0-9.]+  y ")
  message(FATAL_ERROR "the example printed no detection:\n${output}")
endif()
message(STATUS "the example printed:\n${output}")

# A missing file is one line and exit code 1.
execute_process(COMMAND ${WORK}/build/detect_example ${WORK}/absent.h5 ${WORK}/picture.png
                RESULT_VARIABLE status ERROR_VARIABLE message OUTPUT_QUIET)
if(NOT status EQUAL 1 OR NOT message MATCHES "absent.h5")
  message(FATAL_ERROR "a missing checkpoint gave status ${status}: ${message}")
endif()

if(EXISTS ${WORK}/moved/bin/frcnn)
  step("the installed program" ${WORK}/moved/bin/frcnn --version)
  if(NOT output MATCHES "${VERSION}")
    message(FATAL_ERROR "frcnn --version printed: ${output}")
  endif()
endif()
