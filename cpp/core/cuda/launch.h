// Kernels: bodies that run once for each pixel, or once for each item by a warp of 32 lanes. Compiled by nvcc
// they run on the GPU; with STPL_RT_CUDA_EMULATED any compiler makes them loops over host memory, so that
// their arithmetic is tested where there is no GPU. For .cu files alone.
#pragma once

#include <cstdint>

#include "core/cuda/handles.h"
#include "core/image.h"
#include "core/simd.h"

#if defined(STPL_RT_CUDA_EMULATED)
#include "core/cuda/emulation.h"
#else
#include "core/cuda/error.h"
#endif

namespace stpl_rt::cuda {

inline constexpr int kWarpLanes = 32;

#if defined(STPL_RT_CUDA_EMULATED)

// What a lane of a warp holds in registers.
template <class T>
class PerLane {
 public:
  T& operator[](int lane) { return values_[lane]; }
  const T& operator[](int lane) const { return values_[lane]; }

 private:
  T values_[kWarpLanes];
};

// Work of a warp is written as steps: each() runs one in every lane, sum() and ballot() put the lanes'
// results together. What lies between them is the same in all lanes.
class Warp {
 public:
  template <class Step>
  void each(Step&& step) const {
    for (int lane = 0; lane < kWarpLanes; ++lane) step(lane);
  }
  // In the lane `lane` alone.
  template <class Step>
  void one(int lane, Step&& step) const {
    step(lane);
  }
  // The sums over all lanes of the members of T, which are all of type `Number`. In the order of a butterfly.
  template <class Number, class T, class Step>
  T sum(Step&& step) const {
    constexpr int kMembers = sizeof(T) / sizeof(Number);  // NOLINT(bugprone-sizeof-expression): may be 1
    Number values[kWarpLanes][kMembers];
    for (int lane = 0; lane < kWarpLanes; ++lane) {
      const T value = step(lane);
      __builtin_memcpy(values[lane], &value, sizeof(T));
    }
    for (int distance = kWarpLanes / 2; distance > 0; distance /= 2) {
      for (int lane = 0; lane < distance; ++lane) {
        for (int i = 0; i < kMembers; ++i) values[lane][i] += values[lane + distance][i];
      }
    }
    T total;
    __builtin_memcpy(&total, values[0], sizeof(T));
    return total;
  }
  // Bit i: what `step` says in lane i.
  template <class Step>
  std::uint32_t ballot(Step&& step) const {
    std::uint32_t bits = 0;
    for (int lane = 0; lane < kWarpLanes; ++lane) bits |= step(lane) ? 1U << lane : 0U;
    return bits;
  }
  // What lane `lane` holds.
  template <class T>
  T read(const PerLane<T>& held, int lane) const {
    return held[lane];
  }
};

// Backwards: what depends on the order shows.
template <class Body>
void for_each_pixel(const Body& body, Size size, StreamHandle stream) {
  emulation::enqueue(stream, [body, size] {
    for (int y = size.height - 1; y >= 0; --y) {
      for (int x = size.width - 1; x >= 0; --x) body(x, y);
    }
  });
}

template <class Body>
void for_each_warp(const Body& body, Size size, StreamHandle stream) {
  emulation::enqueue(stream, [body, size] {
    for (int y = size.height - 1; y >= 0; --y) {
      for (int x = size.width - 1; x >= 0; --x) body(Warp{}, x, y);
    }
  });
}

inline int add_atomically(int* to, int value) {
  const int before = *to;
  *to += value;
  return before;
}

#else

template <class T>
class PerLane {
 public:
  __device__ __forceinline__ T& operator[](int /*lane*/) { return value_; }
  __device__ __forceinline__ const T& operator[](int /*lane*/) const { return value_; }

 private:
  T value_;
};

class Warp {
 public:
  template <class Step>
  __device__ __forceinline__ void each(Step&& step) const {
    step(lane());
  }
  template <class Step>
  __device__ __forceinline__ void one(int which, Step&& step) const {
    if (lane() == which) step(which);
  }
  template <class Number, class T, class Step>
  __device__ __forceinline__ T sum(Step&& step) const {
    constexpr int kMembers = sizeof(T) / sizeof(Number);  // NOLINT(bugprone-sizeof-expression): may be 1
    T total = step(lane());
    Number values[kMembers];
    __builtin_memcpy(values, &total, sizeof(T));
#pragma unroll
    for (int distance = kWarpLanes / 2; distance > 0; distance /= 2) {
#pragma unroll
      for (int i = 0; i < kMembers; ++i) values[i] += __shfl_xor_sync(kAll, values[i], distance);
    }
    __builtin_memcpy(&total, values, sizeof(T));
    return total;
  }
  template <class Step>
  __device__ __forceinline__ std::uint32_t ballot(Step&& step) const {
    return __ballot_sync(kAll, step(lane()));
  }
  template <class T>
  __device__ __forceinline__ T read(const PerLane<T>& held, int which) const {
    return __shfl_sync(kAll, held[which], which);
  }

 private:
  static constexpr unsigned kAll = 0xFFFFFFFFU;
  __device__ __forceinline__ static int lane() { return static_cast<int>(threadIdx.x) % kWarpLanes; }
};

// Of 32 x 8 threads: a warp is a piece of a row.
inline constexpr int kPixelBlockHeight = 8;
inline constexpr int kWarpsPerBlock = 4;

template <class Body>
__global__ void __launch_bounds__(kWarpLanes* kPixelBlockHeight)
    run_pixels(const __grid_constant__ Body body, int width, int height) {
  const int x = static_cast<int>(blockIdx.x * kWarpLanes + threadIdx.x);
  const int y = static_cast<int>(blockIdx.y * kPixelBlockHeight + threadIdx.y);
  if (x < width && y < height) body(x, y);
}

template <class Body>
__global__ void __launch_bounds__(kWarpLanes* kWarpsPerBlock)
    run_warps(const __grid_constant__ Body body, int width, int count) {
  const int i = static_cast<int>(blockIdx.x * kWarpsPerBlock + threadIdx.x / kWarpLanes);
  if (i < count) body(Warp{}, i % width, i / width);
}

inline unsigned blocks(int count, int per_block) {
  return static_cast<unsigned>((count + per_block - 1) / per_block);
}

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, StreamHandle stream,
            Arguments... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, arguments...), "starting a kernel");
}

// Enqueue body(x, y), or body(warp, x, y), for all x and y of `size`, in any order.
template <class Body>
void for_each_pixel(const Body& body, Size size, StreamHandle stream) {
  if (size.width < 1 || size.height < 1) return;
  const dim3 grid(blocks(size.width, kWarpLanes), blocks(size.height, kPixelBlockHeight));
  launch(run_pixels<Body>, grid, dim3(kWarpLanes, kPixelBlockHeight), stream, body, size.width, size.height);
}

template <class Body>
void for_each_warp(const Body& body, Size size, StreamHandle stream) {
  const int count = size.width * size.height;
  if (count < 1) return;
  launch(run_warps<Body>, dim3(blocks(count, kWarpsPerBlock)), dim3(kWarpLanes * kWarpsPerBlock), stream,
         body, size.width, count);
}

__device__ __forceinline__ int add_atomically(int* to, int value) { return atomicAdd(to, value); }

#endif

}  // namespace stpl_rt::cuda

// Marks a kernel's body.
#if defined(STPL_RT_CUDA_EMULATED)
#define STPL_RT_KERNEL inline
#else
#define STPL_RT_KERNEL __device__ __forceinline__
#endif
