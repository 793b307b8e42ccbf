#include "allocations.h"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

#if defined(STPL_RT_COUNTS_ALLOCATIONS)

namespace {

std::atomic<bool> counting{false};
std::atomic<bool> counts_all_threads{false};
std::atomic<int> allocations{0};
thread_local bool is_ours = false;
thread_local bool is_inside_engine = false;
thread_local int until_failure = -1;  // negative: none fails

void* allocate(std::size_t size, std::size_t alignment) {
  const bool is_counted =
      counts_all_threads.load(std::memory_order_relaxed) || (is_ours && !is_inside_engine);
  if (is_counted && counting.load(std::memory_order_relaxed)) {
    allocations.fetch_add(1, std::memory_order_relaxed);
  }
  if (until_failure >= 0 && !is_inside_engine && until_failure-- == 0) throw std::bad_alloc();
  void* const memory = alignment > alignof(std::max_align_t)
                           ? std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment)
                           : std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size, 0); }
void* operator new[](std::size_t size) { return allocate(size, 0); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace stpl_rt::test {

void count_on_this_thread() noexcept { is_ours = true; }

InsideEngine::InsideEngine() noexcept { is_inside_engine = true; }
InsideEngine::~InsideEngine() { is_inside_engine = false; }

void start_counting(Threads threads) noexcept {
  counts_all_threads = threads == Threads::all;
  allocations = 0;
  counting = true;
}
int stop_counting() noexcept {
  counting = false;
  return allocations;
}

void fail_allocation_after(int others) noexcept { until_failure = others; }

}  // namespace stpl_rt::test
#endif
