#include "core/thread_pool.h"

#include <gtest/gtest.h>
#include <stpl_rt/error.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

namespace stpl_rt {
namespace {

class ThreadPoolTest : public testing::TestWithParam<int> {};

TEST_P(ThreadPoolTest, VisitsEveryItemOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.size(), GetParam());
  for (const int count : {0, 1, 2, 7, 64, 1000}) {
    for (const int grain : {1, 3, 64, 5000}) {
      std::vector<std::atomic<int>> visits(static_cast<std::size_t>(count));
      pool.parallel_for(count, grain, [&](int begin, int end) {
        for (int i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
      });
      for (const auto& visit : visits) ASSERT_EQ(visit, 1) << "count " << count << ", grain " << grain;
    }
  }
}

TEST_P(ThreadPoolTest, PiecesAreAtLeastAGrainLong) {
  ThreadPool pool(GetParam());
  std::atomic<int> shortest{1000};
  pool.parallel_for(100, 30, [&](int begin, int end) {
    int seen = shortest;
    while (end - begin < seen && !shortest.compare_exchange_weak(seen, end - begin)) {
    }
  });
  EXPECT_GE(shortest, 30);
}

TEST_P(ThreadPoolTest, RunsManyShortJobsInARow) {
  ThreadPool pool(GetParam());
  std::atomic<long> sum{0};
  for (int job = 0; job < 2000; ++job) {
    pool.parallel_for(16, 1, [&](int begin, int end) { sum += end - begin; });
  }
  EXPECT_EQ(sum, 2000 * 16);
}

TEST_P(ThreadPoolTest, WakesWorkersThatHaveGoneToSleep) {
  ThreadPool pool(GetParam());
  for (int job = 0; job < 5; ++job) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::atomic<int> done{0};
    pool.parallel_for(64, 1, [&](int begin, int end) { done += end - begin; });
    EXPECT_EQ(done, 64);
  }
}

TEST_P(ThreadPoolTest, NestedLoopsRunInline) {
  ThreadPool pool(GetParam());
  std::atomic<int> sum{0};
  pool.parallel_for(8, 1, [&](int begin, int end) {
    for (int i = begin; i < end; ++i) {
      pool.parallel_for(10, 1, [&](int b, int e) { sum += e - b; });
    }
  });
  EXPECT_EQ(sum, 80);
}

TEST_P(ThreadPoolTest, PassesExceptionsOnAndStaysUsable) {
  ThreadPool pool(GetParam());
  for (int job = 0; job < 20; ++job) {
    EXPECT_THROW(pool.parallel_for(100, 1, [](int, int) { throw std::runtime_error("no"); }),
                 std::runtime_error);
    std::atomic<int> done{0};
    pool.parallel_for(100, 1, [&](int begin, int end) { done += end - begin; });
    EXPECT_EQ(done, 100);
  }
}

TEST_P(ThreadPoolTest, CanBeSharedByCallers) {
  ThreadPool pool(GetParam());
  std::atomic<long> sum{0};
  const auto caller = [&] {
    for (int job = 0; job < 500; ++job) {
      pool.parallel_for(32, 1, [&](int begin, int end) { sum += end - begin; });
    }
  };
  std::thread other(caller);
  caller();
  other.join();
  EXPECT_EQ(sum, 2 * 500 * 32);
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, testing::Values(1, 2, 3, 5));

TEST(ThreadPool, MoreThanOneThreadTakesPart) {
  ThreadPool pool(2);
  const auto caller = std::this_thread::get_id();
  std::atomic<bool> helped{false};
  const auto end_of_patience = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!helped && std::chrono::steady_clock::now() < end_of_patience) {
    pool.parallel_for(2, 1, [&](int, int) {
      if (std::this_thread::get_id() != caller) helped = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    });
  }
  EXPECT_TRUE(helped);
}

TEST(ThreadPool, TakersAreChosen) {
  ThreadPool pool(2);
  const auto caller = std::this_thread::get_id();
  for (int job = 0; job < 200; ++job) {
    const bool of_caller = job % 2 == 0;
    ThreadPool::let_take(of_caller ? ThreadPool::Takers::caller : ThreadPool::Takers::workers);
    std::atomic<int> right{0};
    pool.parallel_for(64, 1, [&](int begin, int end) {
      if ((std::this_thread::get_id() == caller) == of_caller) right += end - begin;
    });
    EXPECT_EQ(right, 64) << job;
  }
  ThreadPool::let_take(ThreadPool::Takers::all);
}

TEST(ThreadPool, ZeroMeansTheAvailableThreads) {
  EXPECT_GE(available_threads(), 1);
  EXPECT_EQ(ThreadPool(0).size(), available_threads());
}

TEST(ThreadPool, RefusesANegativeNumber) { EXPECT_THROW(ThreadPool(-1), Error); }

}  // namespace
}  // namespace stpl_rt
