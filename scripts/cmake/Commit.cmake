# Writes OUT, a source file with the commit of the source tree in SOURCE: its first 12 digits, with "+"
# where tracked files have changed since; empty where git or the history is missing. The file is
# left alone when it says so already, so that nothing is compiled anew.
#   cmake -DSOURCE=DIR -DOUT=FILE -P Commit.cmake
set(commit "")
find_program(GIT git)
if(GIT)
  execute_process(COMMAND ${GIT} rev-parse --short=12 HEAD WORKING_DIRECTORY ${SOURCE}
                  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET
                  RESULT_VARIABLE failed)
  # A copy without its history may lie inside of another project's.
  execute_process(COMMAND ${GIT} rev-parse --show-prefix WORKING_DIRECTORY ${SOURCE}
                  OUTPUT_VARIABLE below OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(failed OR NOT below STREQUAL "")
    set(commit "")
  else()
    execute_process(COMMAND ${GIT} diff-index --quiet HEAD -- WORKING_DIRECTORY ${SOURCE}
                    ERROR_QUIET RESULT_VARIABLE changed)
    if(changed)
      string(APPEND commit "+")
    endif()
  endif()
endif()
set(text "#include \"apps/version.h\"

const char* frcnn::apps::source_commit() {
  return \"${commit}\";
}
")
set(before "")
if(EXISTS ${OUT})
  file(READ ${OUT} before)
endif()
if(NOT before STREQUAL text)
  file(WRITE ${OUT} "${text}")
endif()
