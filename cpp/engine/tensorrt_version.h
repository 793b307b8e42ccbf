// Versions of TensorRT, and whether a program compiled with one's headers may call another's library.
#pragma once

#include <optional>
#include <string>

namespace stpl_rt {

// TensorRT for RTX has numbers of its own, from 1.0 on; TensorRT's are far beyond.
struct TensorRtVersion {
  int major = 0;
  int minor = 0;
  int patch = 0;
  int build = 0;

  [[nodiscard]] bool is_rtx() const noexcept { return major < 5; }
  // What plans name it by: "tensorrt" or "tensorrt_rtx", and "11.1.0.106".
  [[nodiscard]] std::string library() const;
  [[nodiscard]] std::string number() const;
  [[nodiscard]] std::string to_string() const;  // "TensorRT 11.1.0.106", "TensorRT for RTX 1.7.1.116"
};

// Why a program compiled with these headers must not call this library: its tables of functions differ, and
// calls would land in other functions without a word. Nothing where it may.
std::optional<std::string> version_fault(const TensorRtVersion& headers, const TensorRtVersion& library);

}  // namespace stpl_rt
