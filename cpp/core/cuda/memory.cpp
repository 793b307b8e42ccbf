#include "core/cuda/memory.h"

#include "core/cuda/error.h"

namespace stpl_rt::cuda {

void* allocate(MemoryKind kind, std::size_t bytes) {
  void* memory = nullptr;
  if (kind == MemoryKind::device) {
    check(cudaMalloc(&memory, bytes), "device memory");
  } else {
    check(cudaHostAlloc(&memory, bytes, cudaHostAllocPortable), "pinned memory");
  }
  return memory;
}

void deallocate(MemoryKind kind, void* memory) noexcept {
  if (memory == nullptr) return;
  (void)(kind == MemoryKind::device ? cudaFree(memory) : cudaFreeHost(memory));
}

void copy_bytes(void* to, const void* from, std::size_t bytes, StreamHandle stream) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream), "copy");
}

void copy_rows(void* to, std::size_t to_stride, const void* from, std::size_t from_stride,
               std::size_t row_bytes, int rows, StreamHandle stream) {
  check(cudaMemcpy2DAsync(to, to_stride, from, from_stride, row_bytes, static_cast<std::size_t>(rows),
                          cudaMemcpyDefault, stream),
        "copy of rows");
}

void set_bytes(void* data, int value, std::size_t bytes, StreamHandle stream) {
  check(cudaMemsetAsync(data, value, bytes, stream), "filling memory");
}

}  // namespace stpl_rt::cuda
