// Work without the interpreter's lock, and what becomes of it when the interpreter ends.
#pragma once

#include <nanobind/nanobind.h>

namespace stpl_rt::bindings {

// Lets other Python threads run as long as it lives. Unlike nanobind's own, it survives that the interpreter
// ends in the meantime: before 3.14 Python then ends the thread that asks for the lock by unwinding it, which
// no destructor lets through, so that the process would abort. Such a thread rests here until the process is
// gone; the main thread does not wait for it.
class GilReleased {
 public:
  GilReleased() noexcept;
  ~GilReleased();
  GilReleased(const GilReleased&) = delete;
  GilReleased& operator=(const GilReleased&) = delete;

 private:
  PyThreadState* state_;
};

// From now on every other thread that would release the lock rests instead, and returns when those that have
// are back, or Ctrl-C interrupts the wait (nb::python_error). Called with the lock by the thread that ends
// the interpreter: what an engine's library keeps for the process goes with it, while a daemon thread that
// were inside would go on using it.
void end_released_work();

// In a forked child nobody is inside. Once, before the first fork().
void forget_released_work_in_children();

}  // namespace stpl_rt::bindings
