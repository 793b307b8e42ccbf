// One source per kernel, several instruction sets: the compiler clones it and the loader picks one.
#pragma once

#if defined(__CUDACC__)
#define STPL_RT_INLINE __host__ __device__ __forceinline__
#define STPL_RT_HOST_DEVICE __host__ __device__
#else
#define STPL_RT_INLINE inline __attribute__((always_inline))
#define STPL_RT_HOST_DEVICE
#endif

// Put on free functions over a range of rows. Lambdas do not inherit it, so a parallel loop's body
// only calls such a function.
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(STPL_RT_NO_MULTIVERSION)
#define STPL_RT_MULTIVERSION __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define STPL_RT_MULTIVERSION
#endif
