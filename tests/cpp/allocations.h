// Counts what our code allocates, by replacing the program's operator new. Sanitizers do so themselves: with
// them nothing is counted.
#pragma once

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define STPL_RT_COUNTS_ALLOCATIONS

namespace stpl_rt::test {

enum class Threads {
  ours,  // those that have said so: the others are OpenVINO's
  all,   // where no network runs
};

// From here on this thread is ours.
void count_on_this_thread() noexcept;

// While one lives, what its thread allocates is not ours.
class InsideEngine {
 public:
  InsideEngine() noexcept;
  ~InsideEngine();
  InsideEngine(const InsideEngine&) = delete;
  InsideEngine& operator=(const InsideEngine&) = delete;
};

// Those between the two calls.
void start_counting(Threads threads = Threads::ours) noexcept;
int stop_counting() noexcept;

// Of this thread's allocations outside of engines, the one after `others` more fails; negative: none.
void fail_allocation_after(int others) noexcept;

}  // namespace stpl_rt::test
#endif
