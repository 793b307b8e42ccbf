# TensorRT: an SDK's tarball, the packages of JetPack, Debian and Ubuntu, or TensorRT for RTX (SDK or Python wheel).
#
# Looks where TENSORRT_ROOT (or the environment's TENSORRT_ROOT) points, then where packages install. Headers and libraries
# may lie in different folders: TENSORRT_ROOT is a list. Where both libraries are there, TensorRT_RTX=ON takes that for RTX.
#
# Sets TensorRT_FOUND, TensorRT_VERSION (of the headers), TensorRT_FLAVOUR ("tensorrt" or "tensorrt_rtx") and
# TensorRT_LIBRARY_DIR; makes the targets TensorRT::TensorRT and TensorRT::OnnxParser.
set(tensorrt_roots ${TENSORRT_ROOT} $ENV{TENSORRT_ROOT})
option(TensorRT_RTX "Take TensorRT for RTX where TensorRT is there too" OFF)

find_path(TensorRT_INCLUDE_DIR NvInfer.h HINTS ${tensorrt_roots} PATHS /usr/local/tensorrt /opt/tensorrt
          PATH_SUFFIXES include DOC "Folder of NvInfer.h")
# The wheel has no unversioned names, which a linker does not need.
set(tensorrt_names nvinfer libnvinfer.so.11 libnvinfer.so.10)
set(tensorrt_rtx_names tensorrt_rtx libtensorrt_rtx.so.1)
set(tensorrt_parser_names nvonnxparser libnvonnxparser.so.11 libnvonnxparser.so.10)
set(tensorrt_rtx_parser_names tensorrt_onnxparser_rtx libtensorrt_onnxparser_rtx.so.1)
foreach(flavour tensorrt tensorrt_rtx)
  find_library(TensorRT_${flavour}_LIBRARY NAMES ${${flavour}_names} HINTS ${tensorrt_roots}
               PATHS /usr/local/tensorrt /opt/tensorrt PATH_SUFFIXES "" lib lib64 tensorrt_rtx_libs tensorrt_libs)
  find_library(TensorRT_${flavour}_PARSER NAMES ${${flavour}_parser_names} HINTS ${tensorrt_roots}
               PATHS /usr/local/tensorrt /opt/tensorrt PATH_SUFFIXES "" lib lib64 tensorrt_rtx_libs tensorrt_libs)
  mark_as_advanced(TensorRT_${flavour}_LIBRARY TensorRT_${flavour}_PARSER)
endforeach()
set(TensorRT_FLAVOUR tensorrt)
if(TensorRT_RTX OR NOT TensorRT_tensorrt_LIBRARY)
  set(TensorRT_FLAVOUR tensorrt_rtx)
endif()
set(TensorRT_LIBRARY "${TensorRT_${TensorRT_FLAVOUR}_LIBRARY}")
set(TensorRT_PARSER_LIBRARY "${TensorRT_${TensorRT_FLAVOUR}_PARSER}")

# Versions stand under names that differ: NV_TENSORRT_MAJOR is a number, or one of TRT_MAJOR_ENTERPRISE, TRT_MAJOR_RTX.
if(TensorRT_INCLUDE_DIR AND EXISTS "${TensorRT_INCLUDE_DIR}/NvInferVersion.h")
  file(STRINGS "${TensorRT_INCLUDE_DIR}/NvInferVersion.h" tensorrt_defines REGEX "^#define [A-Z_]+_(MAJOR|MINOR|PATCH)")
  set(TensorRT_VERSION "")
  foreach(part MAJOR MINOR PATCH)
    string(REGEX MATCH "#define (NV_TENSORRT_${part}|TRT_${part}_(ENTERPRISE|RTX)) ([0-9]+)" unused "${tensorrt_defines}")
    list(APPEND TensorRT_VERSION "${CMAKE_MATCH_3}")
  endforeach()
  list(JOIN TensorRT_VERSION "." TensorRT_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TensorRT REQUIRED_VARS TensorRT_LIBRARY TensorRT_PARSER_LIBRARY TensorRT_INCLUDE_DIR
                                  VERSION_VAR TensorRT_VERSION)
mark_as_advanced(TensorRT_INCLUDE_DIR)
if(TensorRT_FOUND)
  get_filename_component(TensorRT_LIBRARY_DIR "${TensorRT_LIBRARY}" DIRECTORY)
  if(NOT TARGET TensorRT::TensorRT)
    # Imported, so that its headers are the system's: they do not compile without warnings.
    add_library(TensorRT::TensorRT UNKNOWN IMPORTED)
    set_target_properties(TensorRT::TensorRT PROPERTIES IMPORTED_LOCATION "${TensorRT_LIBRARY}"
                                                        INTERFACE_INCLUDE_DIRECTORIES "${TensorRT_INCLUDE_DIR}")
    add_library(TensorRT::OnnxParser UNKNOWN IMPORTED)
    set_target_properties(TensorRT::OnnxParser PROPERTIES IMPORTED_LOCATION "${TensorRT_PARSER_LIBRARY}"
                                                          INTERFACE_LINK_LIBRARIES TensorRT::TensorRT)
  endif()
endif()
