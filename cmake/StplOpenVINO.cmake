# OpenVINO: where OpenVINO_DIR says, else the Python wheel (headers and CMake files are inside) unless that is for
# another machine than the one we compile for, else an installed SDK. Sets stpl_openvino_libraries to the folder of its libraries.
stpl_forget_stale(OpenVINO_DIR)
if(NOT OpenVINO_DIR AND NOT CMAKE_CROSSCOMPILING)
  stpl_python_package(stpl_openvino_wheel openvino)
  if(stpl_openvino_wheel AND EXISTS "${stpl_openvino_wheel}/cmake/OpenVINOConfig.cmake")
    set(OpenVINO_DIR "${stpl_openvino_wheel}/cmake" CACHE PATH "Folder of OpenVINOConfig.cmake")
  endif()
endif()
find_package(OpenVINO QUIET CONFIG COMPONENTS Runtime)
if(NOT OpenVINO_FOUND AND CMAKE_CROSSCOMPILING)
  message(FATAL_ERROR
    "OpenVINO for ${CMAKE_SYSTEM_PROCESSOR} was not found. Unpack its wheel for that machine and pass "
    "-DOpenVINO_DIR=<folder of its OpenVINOConfig.cmake>, or configure with -DSTPL_RT_OPENVINO=OFF.")
elseif(NOT OpenVINO_FOUND)
  message(FATAL_ERROR
    "OpenVINO was not found. Either install its Python package for ${Python_EXECUTABLE} "
    "(pip install openvino, in the version that pyproject.toml pins) and pass -DPython_EXECUTABLE=<that python>, or "
    "install the OpenVINO SDK and pass -DOpenVINO_DIR=<folder of OpenVINOConfig.cmake>.")
endif()
message(STATUS "OpenVINO ${OpenVINO_VERSION}: ${OpenVINO_DIR}")

# The folder of its libraries: CMake leaves folders inside the source tree, such as .venv, out of what it installs.
get_target_property(stpl_openvino_library openvino::runtime LOCATION)
get_filename_component(stpl_openvino_libraries "${stpl_openvino_library}" DIRECTORY)
