// Splits loops over rows among a fixed set of threads.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace stpl_rt {

// The cores that this process may use: its affinity mask, and its control group's quota where there is one.
int available_threads();

// Idle workers spin for some tens of microseconds, then sleep: the stages of one frame follow each other
// closely, but between frames the cores belong to the inference engine's threads.
class ThreadPool {
 public:
  // `threads` counts the calling thread; 0: available_threads(). Throws Error(invalid_argument) if negative.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // For tests, between calls: who takes the pieces of all pools' loops. Which thread takes one is chance, and
  // so is whose scratch memory grows.
  enum class Takers { all, caller, workers };
  static void let_take(Takers takers) noexcept { takers_.store(takers); }

  [[nodiscard]] int size() const noexcept { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(begin, end) on contiguous pieces that cover [0, count) once, each but the last of at least
  // `grain` items, and returns when all are done. The calling thread takes part. A call from inside a body,
  // or while another thread uses the pool, runs on the calling thread alone. Allocates nothing. The first
  // exception of a body is thrown again here, after all pieces that had begun have ended.
  template <class F>
  void parallel_for(int count, int grain, F&& body) {
    if (count <= 0) return;
    const int pieces = workers_.empty() ? 1 : piece_count(count, grain);
    if (pieces <= 1 || busy_.exchange(true, std::memory_order_acquire)) {
      body(0, count);
      return;
    }
    using Body = std::remove_reference_t<F>;
    run({[](void* context, int begin, int end) { (*static_cast<Body*>(context))(begin, end); },
         const_cast<void*>(static_cast<const void*>(&body)), count, pieces});
  }

 private:
  struct Job {
    void (*call)(void* context, int begin, int end) = nullptr;
    void* context = nullptr;
    int count = 0;
    int pieces = 0;
  };

  [[nodiscard]] int piece_count(int count, int grain) const noexcept;
  void run(const Job& job);
  void stop_workers() noexcept;
  bool run_one_piece() noexcept;
  void wait_for_pieces();
  void work();
  [[nodiscard]] bool has_work() const noexcept;

  static inline std::atomic<Takers> takers_{Takers::all};

  Job job_;
  // Which job (upper 32 bits), its number of pieces, the next piece to take: a piece is claimed by one
  // compare-exchange, so a worker that wakes late can never take a piece of another job.
  std::atomic<std::uint64_t> ticket_{0};
  std::atomic<int> unfinished_{0};
  std::atomic<bool> busy_{false};
  std::atomic<bool> failed_{false};
  std::exception_ptr failure_;

  std::mutex mutex_;  // guards the two sleeps only
  std::condition_variable wake_;
  std::condition_variable finished_;
  std::atomic<int> sleeping_workers_{0};
  std::atomic<bool> caller_sleeps_{false};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

}  // namespace stpl_rt
