// Counts what push() allocates once a stream is running, by replacing the program's operator new.
#include <cstdlib>
#include <new>

#include "test_bundle.h"

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which replace it themselves

namespace {
std::atomic<bool> counting{false};
std::atomic<int> allocations{0};

void* allocate(std::size_t size, std::size_t alignment) {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1, std::memory_order_relaxed);
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
namespace {

// Allocations of the pushes after a first round of key and propagated frames.
int steady_allocations(const std::string& schedule, bool confidence, bool own_flow, int pushes) {
  // One thread: which worker first takes a piece, and grows its scratch memory, is chance.
  Segmenter segmenter(made_bundle("coarse"),
                      {.schedule = Schedule::parse(schedule), .threads = 1, .confidence = confidence});
  std::vector<Picture> pictures;
  for (int t = 0; t < 4 + pushes; ++t) pictures.push_back(textured_picture(400, 240, t));
  const std::vector<float> zeros(2 * 20 * 12, 0.F);
  const FlowView flow = {.data = zeros.data(), .width = 20, .height = 12};
  for (std::size_t t = 0; t < pictures.size(); ++t) {
    if (t == 4) counting = true;
    const Result result =
        own_flow ? segmenter.push(pictures[t].frame()) : segmenter.push(pictures[t].frame(), flow);
    counting = false;
    EXPECT_EQ(result.is_key, t == 0);
    counting = t >= 4;
  }
  counting = false;
  return allocations.exchange(0);
}

TEST(Allocations, APropagatedFrameAllocatesNothing) {
  EXPECT_EQ(steady_allocations("fixed:50", false, true, 10), 0);
  EXPECT_EQ(steady_allocations("fixed:50", true, true, 10), 0);
  EXPECT_EQ(steady_allocations("fixed:50", false, false, 10), 0);
  EXPECT_EQ(steady_allocations("adaptive:99:50", true, true, 10), 0);
}

}  // namespace
}  // namespace stpl_rt::test
#endif
