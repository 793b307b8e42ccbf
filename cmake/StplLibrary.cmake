# libstpl_rt, its CMake package, and stpl-segment.
include(CMakePackageConfigHelpers)

add_library(stpl_rt SHARED)
add_library(stpl_rt::stpl_rt ALIAS stpl_rt)
target_link_libraries(stpl_rt PRIVATE stpl_rt_objects stpl_rt_flags openvino::runtime)
target_include_directories(stpl_rt PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                                          $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(stpl_rt PUBLIC cxx_std_20)
# OpenVINO is found beside this library, or where it was at the build.
set_target_properties(stpl_rt PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0 LINKER_LANGUAGE CXX
                                         INSTALL_RPATH "$ORIGIN;${stpl_openvino_libraries}")

add_executable(stpl-segment cpp/cli/arguments.cpp
                            cpp/cli/main.cpp
                            cpp/cli/output.cpp
                            cpp/cli/summary.cpp
                            cpp/cli/y4m.cpp)
target_include_directories(stpl-segment PRIVATE cpp)
target_link_libraries(stpl-segment PRIVATE stpl_rt stpl_rt_flags)
set_target_properties(stpl-segment PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")

# --- Installed: find_package(stpl_rt), then link stpl_rt::stpl_rt ---
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
