# nlohmann/json headers (header-only, so those of the building machine serve any other): from the system, else from the
# Python package `nlohmann-json`.
stpl_forget_stale(STPL_RT_JSON_INCLUDE_DIR)
stpl_python_package(stpl_json_package nlohmann_json)
find_path(STPL_RT_JSON_INCLUDE_DIR nlohmann/json.hpp
          HINTS ${stpl_json_package} PATH_SUFFIXES include NO_CMAKE_FIND_ROOT_PATH
          DOC "Folder that holds nlohmann/json.hpp")
if(NOT STPL_RT_JSON_INCLUDE_DIR)
  message(FATAL_ERROR
    "nlohmann/json.hpp was not found. Install it from the system (Debian, Ubuntu: apt install nlohmann-json3-dev; "
    "Fedora: dnf install json-devel) or for ${Python_EXECUTABLE} (pip install nlohmann-json), or pass "
    "-DSTPL_RT_JSON_INCLUDE_DIR=<folder that holds nlohmann/json.hpp>.")
endif()
message(STATUS "nlohmann/json: ${STPL_RT_JSON_INCLUDE_DIR}")

set(stpl_json_include "${STPL_RT_JSON_INCLUDE_DIR}")
if(CMAKE_CROSSCOMPILING)
  # Alone in a folder: beside them may lie the building machine's C library.
  set(stpl_json_include "${CMAKE_CURRENT_BINARY_DIR}/json")
  file(MAKE_DIRECTORY "${stpl_json_include}")
  file(CREATE_LINK "${STPL_RT_JSON_INCLUDE_DIR}/nlohmann" "${stpl_json_include}/nlohmann" SYMBOLIC)
endif()
add_library(stpl_rt_json INTERFACE)
target_include_directories(stpl_rt_json SYSTEM INTERFACE "${stpl_json_include}")
