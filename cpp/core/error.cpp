#include <stpl_rt/error.h>

namespace stpl_rt {

const char* to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::invalid_bundle:
      return "invalid_bundle";
    case ErrorCode::io:
      return "io";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::in_use:
      return "in_use";
    case ErrorCode::engine:
      return "engine";
    case ErrorCode::internal:
      return "internal";
  }
  return "unknown";
}

}  // namespace stpl_rt
