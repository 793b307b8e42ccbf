#include "core/thread_pool.h"

#include <stpl_rt/error.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <system_error>
#include <utility>

#include "core/cpu_quota.h"
#include "core/trace.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace stpl_rt {
namespace {

// Long enough to bridge the gap between two kernels of one frame, short enough not to take a core from
// others.
constexpr std::chrono::microseconds kSpin{30};
// More pieces than threads, so that a thread that is put aside by the system does not hold up the rest.
constexpr int kPiecesPerThread = 2;
constexpr int kMaxPieces = 0xFFFF;  // the ticket keeps piece numbers in 16 bits

void pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

template <class Condition>
bool spin_until(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 16; ++i) {
      if (condition()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return condition();
}

constexpr std::uint64_t next_piece(std::uint64_t ticket) { return ticket & 0xFFFF; }
constexpr std::uint64_t pieces_of(std::uint64_t ticket) { return ticket >> 16 & 0xFFFF; }

}  // namespace

int available_threads() {
  int threads = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) threads = CPU_COUNT(&set);
#endif
  if (const int quota = quota_threads("/proc/self/cgroup", "/sys/fs/cgroup"); quota > 0) {
    threads = std::min(threads, quota);
  }
  return std::max(1, threads);
}

ThreadPool::ThreadPool(int threads) {
  if (threads < 0) {
    throw Error(ErrorCode::invalid_argument,
                "threads: expected 0 (all) or more, found " + std::to_string(threads));
  }
  if (threads == 0) threads = available_threads();
  workers_.reserve(static_cast<std::size_t>(threads - 1));
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  } catch (const std::system_error& error) {
    stop_workers();
    throw Error(ErrorCode::internal, std::string("cannot start a thread: ") + error.what());
  }
}

ThreadPool::~ThreadPool() { stop_workers(); }

void ThreadPool::stop_workers() noexcept {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

int ThreadPool::piece_count(int count, int grain) const noexcept {
  const int by_grain = std::max(1, count / std::max(1, grain));
  return std::min({by_grain, kPiecesPerThread * size(), kMaxPieces});
}

void ThreadPool::run(const Job& job) {
  job_ = job;
  failed_.store(false, std::memory_order_relaxed);
  unfinished_.store(job.pieces, std::memory_order_relaxed);
  const std::uint64_t number = (ticket_.load(std::memory_order_relaxed) >> 32) + 1;
  // Sequentially consistent, like the worker's look at the ticket after it has counted itself asleep: one of
  // the two sees the other.
  ticket_.store(number << 32 | static_cast<std::uint64_t>(job.pieces) << 16);
  if (sleeping_workers_.load() > 0) {
    {
      const std::lock_guard lock(mutex_);
    }
    wake_.notify_all();
  }
  if (takers_.load(std::memory_order_relaxed) != Takers::workers) {
    while (run_one_piece()) {
    }
  }
  wait_for_pieces();
  std::exception_ptr failure;
  if (failed_.load(std::memory_order_relaxed)) failure = std::exchange(failure_, nullptr);
  busy_.store(false, std::memory_order_release);
  if (failure) std::rethrow_exception(failure);
}

bool ThreadPool::has_work() const noexcept {
  const std::uint64_t ticket = ticket_.load();
  return next_piece(ticket) < pieces_of(ticket) && takers_.load(std::memory_order_relaxed) != Takers::caller;
}

bool ThreadPool::run_one_piece() noexcept {
  std::uint64_t ticket = ticket_.load(std::memory_order_acquire);
  do {
    if (next_piece(ticket) >= pieces_of(ticket)) return false;
  } while (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel));

  // The claim keeps the job alive: it cannot end before this piece does.
  const auto piece = static_cast<std::int64_t>(next_piece(ticket));
  const int begin = static_cast<int>(job_.count * piece / job_.pieces);
  const int end = static_cast<int>(job_.count * (piece + 1) / job_.pieces);
  if (!failed_.load(std::memory_order_relaxed)) {
    try {
      job_.call(job_.context, begin, end);
    } catch (...) {
      if (!failed_.exchange(true)) failure_ = std::current_exception();
    }
  }
  if (unfinished_.fetch_sub(1) == 1 && caller_sleeps_.load()) {
    {
      const std::lock_guard lock(mutex_);
    }
    finished_.notify_one();
  }
  return true;
}

void ThreadPool::wait_for_pieces() {
  const auto done = [this] { return unfinished_.load() == 0; };
  if (spin_until(done)) return;
  std::unique_lock lock(mutex_);
  caller_sleeps_ = true;
  finished_.wait(lock, done);
  caller_sleeps_ = false;
}

void ThreadPool::work() {
  const auto wanted = [this] { return has_work() || stop_.load(); };
  while (!stop_.load()) {
    if (!spin_until(wanted)) {
      std::unique_lock lock(mutex_);
      ++sleeping_workers_;
      wake_.wait(lock, wanted);
      --sleeping_workers_;
    }
    if (!has_work()) continue;
    const auto begin = std::chrono::steady_clock::now();
    bool helped = false;
    while (has_work() && run_one_piece()) helped = true;
    if (helped && Trace::enabled()) Trace::add("kernel", begin, std::chrono::steady_clock::now());
  }
}

}  // namespace stpl_rt
