#include "engine/tensorrt_version.h"

#include <array>
#include <tuple>

namespace stpl_rt {
namespace {

// Headers of TensorRT whose tables, as far as we call them, are those of a TensorRT for RTX: tried pair by
// pair. Its library cannot be had with headers of its own from a package.
struct TriedPair {
  int major, minor;          // of the headers
  int rtx_major, rtx_minor;  // of the library
};
constexpr std::array kTriedPairs = {TriedPair{11, 1, 1, 7}};

bool was_tried(const TensorRtVersion& headers, const TensorRtVersion& library) {
  for (const TriedPair& pair : kTriedPairs) {
    if (std::tie(pair.major, pair.minor, pair.rtx_major, pair.rtx_minor) ==
        std::tie(headers.major, headers.minor, library.major, library.minor)) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::string TensorRtVersion::library() const { return is_rtx() ? "tensorrt_rtx" : "tensorrt"; }

std::string TensorRtVersion::number() const {
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch) + "." +
         std::to_string(build);
}

std::string TensorRtVersion::to_string() const {
  return (is_rtx() ? "TensorRT for RTX " : "TensorRT ") + number();
}

std::optional<std::string> version_fault(const TensorRtVersion& headers, const TensorRtVersion& library) {
  // Tables only grow within a major version.
  const bool same_kind = headers.is_rtx() == library.is_rtx();
  if (same_kind && headers.major == library.major && library.minor >= headers.minor) return std::nullopt;
  if (was_tried(headers, library)) return std::nullopt;
  std::string expected = "a library of " + headers.to_string() + ", whose headers stpl_rt was built with";
  if (same_kind) expected += ", or a later one of the same major version";
  return "expected " + expected + ", found that of " + library.to_string() +
         "; build stpl_rt anew with the headers of the library that it shall use";
}

}  // namespace stpl_rt
