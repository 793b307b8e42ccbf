// Work without the interpreter's lock.
#pragma once

#include <nanobind/nanobind.h>

namespace stpl_rt::bindings {

// Lets other Python threads run as long as it lives. Unlike nanobind's own, it survives that the interpreter
// ends in the meantime: before 3.14 Python then ends the thread that asks for the lock by unwinding it, which
// no destructor lets through, so that the process would abort. Such a thread rests here until the process is
// gone; the main thread does not wait for it.
class GilReleased {
 public:
  GilReleased() noexcept : state_(PyEval_SaveThread()) {}
  ~GilReleased();
  GilReleased(const GilReleased&) = delete;
  GilReleased& operator=(const GilReleased&) = delete;

 private:
  PyThreadState* state_;
};

}  // namespace stpl_rt::bindings
