// Numbers of one precision as those of another, on the GPU.
#pragma once

#include <cstddef>

#include "core/cuda/handles.h"
#include "core/half.h"

namespace stpl_rt::cuda {

// `count` numbers, rounded to the nearest. Enqueued on `stream`. T, U: float or Half, not the same.
template <class T, class U>
void convert(const T* from, U* to, std::size_t count, StreamHandle stream);

}  // namespace stpl_rt::cuda
