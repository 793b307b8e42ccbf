// The one exception type of stpl_rt.
#pragma once

#include <stpl_rt/export.h>

#include <stdexcept>
#include <string>

namespace stpl_rt {

enum class ErrorCode {
  invalid_argument,  // the caller passed something a function cannot take
  invalid_bundle,    // a bundle's manifest, file or hash is not what it must be
  io,                // a file could not be read or written
  unsupported,       // well-formed, but not available in this build or on this device
  in_use,            // a Segmenter is at work for another thread, or frames wait in its queue
  engine,            // the inference engine failed; its own text is in the message
  internal,          // a fault of ours
};

// The code's name, for logs and for other languages: "invalid_bundle".
STPL_RT_API const char* to_string(ErrorCode code) noexcept;

// Messages say what was expected, what was found and, where there is one, what to do.
class STPL_RT_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}

  [[nodiscard]] ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace stpl_rt
