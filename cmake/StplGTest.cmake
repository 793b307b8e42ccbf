# GoogleTest: from the system, compiled or (Debian's googletest, for any machine) as source; else its source release is
# downloaded and built.
find_package(GTest QUIET)
set(INSTALL_GTEST OFF)
set(stpl_gtest_source /usr/src/googletest)
if(NOT GTest_FOUND AND EXISTS "${stpl_gtest_source}/CMakeLists.txt")
  add_subdirectory("${stpl_gtest_source}" googletest EXCLUDE_FROM_ALL)
elseif(NOT GTest_FOUND)
  set(stpl_gtest_url "https://github.com/google/googletest/archive/refs/tags/v1.15.2.tar.gz"
      CACHE STRING "GoogleTest's source release: an address or a local file")
  set(stpl_gtest_archive "${CMAKE_BINARY_DIR}/googletest.tar.gz")
  if(EXISTS "${stpl_gtest_url}")
    set(stpl_gtest_archive "${stpl_gtest_url}")
  elseif(NOT EXISTS "${stpl_gtest_archive}")
    # Downloaded by hand: FetchContent's own failure says nothing of what to do.
    file(DOWNLOAD "${stpl_gtest_url}" "${stpl_gtest_archive}.part" STATUS stpl_gtest_status TIMEOUT 120)
    list(GET stpl_gtest_status 0 stpl_gtest_code)
    if(NOT stpl_gtest_code EQUAL 0)
      list(GET stpl_gtest_status 1 stpl_gtest_reason)
      message(FATAL_ERROR
        "GoogleTest is not installed and ${stpl_gtest_url} could not be downloaded (${stpl_gtest_reason}). Install it "
        "(Debian, Ubuntu: apt install libgtest-dev; Fedora: dnf install gtest-devel), pass "
        "-Dstpl_gtest_url=<local archive>, or configure with -DSTPL_RT_TESTS=OFF.")
    endif()
    file(RENAME "${stpl_gtest_archive}.part" "${stpl_gtest_archive}")
  endif()
  include(FetchContent)
  FetchContent_Declare(googletest URL "${stpl_gtest_archive}")
  FetchContent_MakeAvailable(googletest)
endif()
include(GoogleTest)
