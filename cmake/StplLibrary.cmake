# libstpl_rt, its CMake package and pkg-config file, and stpl-segment.
include(CMakePackageConfigHelpers)

add_library(stpl_rt SHARED cpp/c_api/c_api.cpp)
add_library(stpl_rt::stpl_rt ALIAS stpl_rt)
target_link_libraries(stpl_rt PRIVATE stpl_rt_objects stpl_rt_flags ${stpl_engine_libraries})
target_include_directories(stpl_rt PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                                          $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(stpl_rt PUBLIC cxx_std_20)
set(stpl_rt_symbols "${PROJECT_SOURCE_DIR}/cmake/stpl_rt.map")
target_link_options(stpl_rt PRIVATE "LINKER:--version-script=${stpl_rt_symbols}")
# Until 1.0 each minor version may change the interface: its number is in the SONAME, as in the CMake package's rule.
# OpenVINO and TensorRT are found beside this library, or where they were at the build, which is another machine where one crosses.
set(stpl_rt_rpath "$ORIGIN")
if(STPL_RT_OPENVINO AND NOT CMAKE_CROSSCOMPILING)
  list(APPEND stpl_rt_rpath "${stpl_openvino_libraries}")
endif()
if(STPL_RT_TENSORRT AND NOT CMAKE_CROSSCOMPILING)
  list(APPEND stpl_rt_rpath "${TensorRT_LIBRARY_DIR}")
endif()
set_target_properties(stpl_rt PROPERTIES VERSION ${PROJECT_VERSION}
                                         SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
                                         LINKER_LANGUAGE CXX LINK_DEPENDS "${stpl_rt_symbols}"
                                         INSTALL_RPATH "${stpl_rt_rpath}")

add_executable(stpl-segment cpp/cli/arguments.cpp
                            cpp/cli/main.cpp
                            cpp/cli/output.cpp
                            cpp/cli/summary.cpp
                            cpp/cli/y4m.cpp)
target_include_directories(stpl-segment PRIVATE cpp)
target_link_libraries(stpl-segment PRIVATE stpl_rt stpl_rt_flags)
set_target_properties(stpl-segment PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")

# --- Installed: find_package(stpl_rt), then link stpl_rt::stpl_rt; or pkg-config stpl_rt ---
install(TARGETS stpl_rt EXPORT stpl_rtTargets COMPONENT library LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS stpl-segment COMPONENT library RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY include/stpl_rt COMPONENT library DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
set(stpl_rt_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/stpl_rt)
install(EXPORT stpl_rtTargets NAMESPACE stpl_rt:: COMPONENT library DESTINATION ${stpl_rt_package_dir})
configure_package_config_file(cmake/stpl_rtConfig.cmake.in stpl_rtConfig.cmake
                              INSTALL_DESTINATION ${stpl_rt_package_dir})
write_basic_package_version_file(stpl_rtConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/stpl_rtConfig.cmake" "${CMAKE_CURRENT_BINARY_DIR}/stpl_rtConfigVersion.cmake"
        COMPONENT library DESTINATION ${stpl_rt_package_dir})

file(RELATIVE_PATH stpl_rt_prefix_from_pc "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
string(REGEX REPLACE "/$" "" stpl_rt_prefix_from_pc "${stpl_rt_prefix_from_pc}")
set(stpl_rt_pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
if(IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  set(stpl_rt_pc_includedir "${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file(cmake/stpl_rt.pc.in stpl_rt.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/stpl_rt.pc" COMPONENT library
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES LICENSE COMPONENT library DESTINATION ${CMAKE_INSTALL_DOCDIR})
