// Where the time goes, for Chrome's trace viewer and Perfetto: set STPL_RT_TRACE=FILE.
#pragma once

#include <chrono>

namespace stpl_rt {

// The file is written when a Segmenter goes and when the program ends, to a temporary name first.
class Trace {
 public:
  using Time = std::chrono::steady_clock::time_point;

  static bool enabled() noexcept;
  // `name` must live as long as the program.
  static void add(const char* name, Time begin, Time end) noexcept;
  static void write() noexcept;
};

}  // namespace stpl_rt
