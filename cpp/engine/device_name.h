// The names of devices that options take.
#pragma once

#include <optional>
#include <string>

namespace stpl_rt {

// N of "cuda:N", 0 of "cuda", nothing of "cpu". Throws Error(unsupported) for all else.
std::optional<int> cuda_device(const std::string& name);

}  // namespace stpl_rt
