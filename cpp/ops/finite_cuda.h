// finite.h on the GPU.
#pragma once

#include <cstddef>

#include "core/cuda/handles.h"
#include "core/half.h"

namespace stpl_rt::cuda {

// Writes to `count`, the device's or pinned, how many of the values are infinite or no number. T: float or
// Half.
template <class T>
void count_not_finite(const T* values, std::size_t size, int* count, StreamHandle stream);

}  // namespace stpl_rt::cuda
