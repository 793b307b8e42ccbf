#include "engine/device_name.h"

#include <stpl_rt/error.h>

#include <charconv>
#include <string_view>

#include "text/printable.h"

namespace stpl_rt {

std::optional<int> cuda_device(const std::string& name) {
  constexpr std::string_view kCuda = "cuda", kNumbered = "cuda:";
  if (name == "cpu") return std::nullopt;
  if (name == kCuda) return 0;
  if (name.starts_with(kNumbered)) {
    int number = -1;
    const char* const end = name.data() + name.size();
    const auto [read, error] = std::from_chars(name.data() + kNumbered.size(), end, number);
    if (error == std::errc() && read == end && number >= 0) return number;
  }
  throw Error(
      ErrorCode::unsupported,
      R"(expected a device "cpu", "cuda" or "cuda:N" with N from 0, found ")" + printable(name, 40) + "\"");
}

}  // namespace stpl_rt
