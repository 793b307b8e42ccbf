// Times a stage of the work on a frame.
#pragma once

#include <chrono>

#include "core/trace.h"

namespace stpl_rt {

// Adds the time it lives to a stage's milliseconds, and to the trace where there is one.
class Stopwatch {
 public:
  Stopwatch(const char* name, double& milliseconds) noexcept : name_(name), milliseconds_(milliseconds) {}
  ~Stopwatch() {
    const auto end = std::chrono::steady_clock::now();
    milliseconds_ += std::chrono::duration<double, std::milli>(end - start_).count();
    Trace::add(name_, start_, end);
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  const char* name_;
  double& milliseconds_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace stpl_rt
