#include "engine/tensorrt_library.h"

#include <NvInferVersion.h>

#include <exception>

#include "text/printable.h"

namespace stpl_rt {
namespace {

constexpr std::size_t kKept = 2000;  // bytes of errors

}  // namespace

TensorRtLog& TensorRtLog::shared() {
  static auto* log = new TensorRtLog;
  return *log;
}

void TensorRtLog::log(Severity severity, const char* message) noexcept {
  if (message == nullptr || severity > Severity::kERROR) return;
  try {
    const std::lock_guard lock(mutex_);
    if (errors_.size() >= kKept) return;
    const std::string text = printable(message, kKept - errors_.size());
    if (errors_.find(text) != std::string::npos) return;  // some errors come twice
    errors_ += (errors_.empty() ? "" : "; ") + text;
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): no exception may pass through TensorRT
  }
}

std::string TensorRtLog::take() {
  const std::lock_guard lock(mutex_);
  std::string errors;
  errors.swap(errors_);
  return errors.empty() ? "it does not say why" : errors;
}

void fail_in_tensorrt(const std::string& doing) {
  throw Error(ErrorCode::engine, "TensorRT failed " + doing + ": " + TensorRtLog::shared().take());
}

TensorRtVersion tensorrt_headers() {
  return {.major = NV_TENSORRT_MAJOR,
          .minor = NV_TENSORRT_MINOR,
          .patch = NV_TENSORRT_PATCH,
          .build = NV_TENSORRT_BUILD};
}

TensorRtVersion tensorrt_library() {
  return {.major = getInferLibMajorVersion(),
          .minor = getInferLibMinorVersion(),
          .patch = getInferLibPatchVersion(),
          .build = getInferLibBuildVersion()};
}

void require_tensorrt() {
  if (const auto fault = version_fault(tensorrt_headers(), tensorrt_library())) {
    throw Error(ErrorCode::unsupported, *fault);
  }
}

}  // namespace stpl_rt
