// TensorRT's library: its version, its log, its errors. For our own sources alone: it includes TensorRT's
// headers.
#pragma once

#include <NvInferRuntime.h>
#include <stpl_rt/error.h>

#include <mutex>
#include <optional>
#include <string>

#include "engine/tensorrt_version.h"

namespace stpl_rt {

// Keeps what TensorRT reports as errors, for the exception of the call that failed. Prints nothing, unless
// STPL_RT_TENSORRT_LOG asks for it: what is at least an "error", "warning", "info" or "verbose", on standard
// error.
class TensorRtLog final : public nvinfer1::ILogger {
 public:
  TensorRtLog();
  // One for the process, never destroyed: TensorRT keeps the first that it is given.
  static TensorRtLog& shared();

  void log(Severity severity, const char* message) noexcept override;
  // The errors since the last call, in one line.
  std::string take();

 private:
  std::optional<Severity> shown_;  // the least severe
  std::mutex mutex_;
  std::string errors_;
};

// Throws Error with what TensorRT said.
[[noreturn]] void fail_in_tensorrt(const std::string& doing);

TensorRtVersion tensorrt_headers();  // that stpl_rt was built with
TensorRtVersion tensorrt_library();  // that is loaded
// Before any other call to TensorRT. Throws Error(unsupported) where the two do not go together.
void require_tensorrt();

}  // namespace stpl_rt
