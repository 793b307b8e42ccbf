#include <stpl_rt/result.h>

namespace stpl_rt {

const char* to_string(KeyReason reason) noexcept {
  switch (reason) {
    case KeyReason::none:
      return "none";
    case KeyReason::first:
      return "first";
    case KeyReason::schedule:
      return "schedule";
    case KeyReason::drift:
      return "drift";
    case KeyReason::gap:
      return "gap";
    case KeyReason::scene_cut:
      return "scene_cut";
    case KeyReason::size_change:
      return "size_change";
  }
  return "unknown";
}

}  // namespace stpl_rt
