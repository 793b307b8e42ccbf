# Toolchain file for 64-bit ARM with the cross-compiler of Debian and Ubuntu (g++-aarch64-linux-gnu). Programs run on the
# building machine through qemu-user, where that is installed; CTest does so by itself.
#   cmake -S . -B build/aarch64 --toolchain cmake/aarch64-linux-gnu.cmake
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)

set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

# Libraries, headers and packages are the target's, programs the building machine's.
set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

find_program(STPL_RT_QEMU NAMES qemu-aarch64 qemu-aarch64-static)
if(STPL_RT_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR "${STPL_RT_QEMU}" -L /usr/aarch64-linux-gnu)
endif()
