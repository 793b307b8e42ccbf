#include "engine/tensorrt_library.h"

#include <NvInferVersion.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string_view>

#include "text/printable.h"

namespace stpl_rt {
namespace {

constexpr std::size_t kKept = 2000;  // bytes of errors
constexpr std::size_t kLongestLine = 4000;

struct Level {
  nvinfer1::ILogger::Severity severity;
  const char* name;
};
constexpr std::array<Level, 5> kLevels = {{{nvinfer1::ILogger::Severity::kINTERNAL_ERROR, "internal error"},
                                           {nvinfer1::ILogger::Severity::kERROR, "error"},
                                           {nvinfer1::ILogger::Severity::kWARNING, "warning"},
                                           {nvinfer1::ILogger::Severity::kINFO, "info"},
                                           {nvinfer1::ILogger::Severity::kVERBOSE, "verbose"}}};

const char* name_of(nvinfer1::ILogger::Severity severity) {
  const auto* const level = std::ranges::find(kLevels, severity, &Level::severity);
  return level != kLevels.end() ? level->name : "message";
}

}  // namespace

TensorRtLog::TensorRtLog() {
  const char* const asked = std::getenv("STPL_RT_TENSORRT_LOG");
  if (asked == nullptr || *asked == '\0') return;
  const auto* const level =
      std::ranges::find_if(kLevels, [&](const Level& l) { return std::string_view(asked) == l.name; });
  if (level != kLevels.end()) {
    shown_ = level->severity;
  } else {
    std::fprintf(stderr,
                 "stpl_rt: STPL_RT_TENSORRT_LOG: expected error, warning, info or verbose, found \"%s\"\n",
                 printable(asked, kKept).c_str());
  }
}

TensorRtLog& TensorRtLog::shared() {
  static auto* log = new TensorRtLog;
  return *log;
}

void TensorRtLog::log(Severity severity, const char* message) noexcept {
  if (message == nullptr) return;
  try {
    if (shown_ && severity <= *shown_) {
      std::fprintf(stderr, "TensorRT: %s: %s\n", name_of(severity), printable(message, kLongestLine).c_str());
    }
    if (severity > Severity::kERROR) return;
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
