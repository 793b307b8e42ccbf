// Whether a network's output can be used at all.
#pragma once

#include <stpl_rt/error.h>

#include <cstddef>
#include <span>

namespace stpl_rt {

bool all_finite(std::span<const float> values);
std::size_t count_not_finite(std::span<const float> values);

// What is said of a network with `found` such values among `size`.
Error not_finite_error(std::size_t found, std::size_t size);

}  // namespace stpl_rt
