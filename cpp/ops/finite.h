// Whether a network's output can be used at all.
#pragma once

#include <cstddef>
#include <span>

namespace stpl_rt {

bool all_finite(std::span<const float> values);
std::size_t count_not_finite(std::span<const float> values);

}  // namespace stpl_rt
