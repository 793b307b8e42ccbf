#include "gil.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace stpl_rt::bindings {
namespace {

// Nothing here is destroyed: threads look at it until the process is gone.
std::atomic<int> inside{0};
std::atomic<bool> is_ending{false};
thread_local bool ends_the_interpreter = false;

[[noreturn]] void rest() {
  while (true) pause();
}

}  // namespace

GilReleased::GilReleased() noexcept : state_(PyEval_SaveThread()) {
  // First counted, then asked: the thread that ends the interpreter does it the other way round, so that one
  // of the two sees the other.
  ++inside;
  if (is_ending && !ends_the_interpreter) {
    --inside;
    rest();
  }
}

GilReleased::~GilReleased() {
  --inside;
  try {
    PyEval_RestoreThread(state_);
  } catch (...) {  // glibc unwinds a thread that ends; to go on unwinding would reach this noexcept
    rest();
  }
}

void end_released_work() {
  constexpr std::chrono::milliseconds kNap{1};
  ends_the_interpreter = true;
  is_ending = true;
  while (inside > 0) {
    {
      const nanobind::gil_scoped_release released;
      std::this_thread::sleep_for(kNap);
    }
    if (PyErr_CheckSignals() != 0) throw nanobind::python_error();
  }
}

void forget_released_work_in_children() {
  pthread_atfork(nullptr, nullptr, [] { inside = 0; });
}

}  // namespace stpl_rt::bindings
