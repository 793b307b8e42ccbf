# STPL_RT_SANITIZE=address,undefined or thread: our own code with the compiler's sanitizers. What we link against (the
# inference engine, GoogleTest) stays as it was built. A report ends the program: a test cannot pass over it.
if(STPL_RT_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "STPL_RT_FUZZ needs Clang, whose libFuzzer runs the fuzzers, found ${CMAKE_CXX_COMPILER_ID}: "
                        "pass -DCMAKE_CXX_COMPILER=clang++.")
  endif()
  if(NOT STPL_RT_SANITIZE)
    set(STPL_RT_SANITIZE address,undefined)
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

if(STPL_RT_SANITIZE)
  string(REPLACE "," ";" stpl_sanitizers "${STPL_RT_SANITIZE}")
  foreach(sanitizer IN LISTS stpl_sanitizers)
    if(NOT sanitizer MATCHES "^(address|undefined|thread)$")
      message(FATAL_ERROR "STPL_RT_SANITIZE: expected address, undefined, thread or address,undefined, found "
                          "\"${STPL_RT_SANITIZE}\".")
    endif()
  endforeach()
  if("thread" IN_LIST stpl_sanitizers AND "address" IN_LIST stpl_sanitizers)
    message(FATAL_ERROR "STPL_RT_SANITIZE: address and thread cannot be in one build: configure two.")
  endif()
  # -O1 keeps stacks readable and the build short; these come after the build type's flags and win. The standard
  # library's own assertions see what the sanitizers do not: an index past a vector's size but within its memory.
  add_compile_options(-O1 -g1 -fno-omit-frame-pointer "-fsanitize=${STPL_RT_SANITIZE}" -fno-sanitize-recover=all)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    add_compile_options(-Wno-pass-failed)  # which loops do not vectorise at -O1
  endif()
  if("undefined" IN_LIST stpl_sanitizers)
    add_compile_options(-fsanitize=float-cast-overflow -fno-sanitize-recover=float-cast-overflow)
  endif()
  add_compile_definitions(_GLIBCXX_ASSERTIONS)
  add_link_options("-fsanitize=${STPL_RT_SANITIZE}")
endif()
