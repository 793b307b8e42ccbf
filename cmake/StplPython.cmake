# The Python that brings OpenVINO, the JSON headers and nanobind where they come from packages. Optional for
# the library alone; the extension module needs its development headers too.
if(NOT DEFINED Python_EXECUTABLE AND NOT SKBUILD AND EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/.venv/bin/python")
  set(Python_EXECUTABLE "${CMAKE_CURRENT_SOURCE_DIR}/.venv/bin/python" CACHE FILEPATH "Python to build for and with")
endif()
if(STPL_RT_PYTHON)
  set(stpl_python_components Interpreter Development.Module)
  if(CMAKE_VERSION VERSION_GREATER_EQUAL 3.26)
    list(APPEND stpl_python_components ${SKBUILD_SABI_COMPONENT})
  endif()
  find_package(Python 3.10 REQUIRED COMPONENTS ${stpl_python_components})
else()
  find_package(Python 3.10 QUIET COMPONENTS Interpreter)
endif()

# stpl_python_package(<variable> <package>): the folder of an installed Python package, or empty.
function(stpl_python_package variable package)
  set(${variable} "" PARENT_SCOPE)
  if(NOT Python_EXECUTABLE)
    return()
  endif()
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c
            "import importlib.util as u; s = u.find_spec('${package}'); print(s.submodule_search_locations[0] if s else '', end='')"
    OUTPUT_VARIABLE folder RESULT_VARIABLE status ERROR_QUIET)
  if(status EQUAL 0 AND folder)
    set(${variable} "${folder}" PARENT_SCOPE)
  endif()
endfunction()

# stpl_forget_stale(<cached path>): pip's isolated builds leave paths in the cache of a folder that is gone.
function(stpl_forget_stale variable)
  if(${variable} AND NOT EXISTS "${${variable}}")
    unset(${variable} CACHE)
  endif()
endfunction()
