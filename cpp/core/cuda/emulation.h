// Streams, events and graphs without a GPU, for tests: work waits in the queue of its stream until somebody
// waits for it, as late as a GPU may run it. What reads too early, or writes what is still to be read, shows.
#pragma once

#include <functional>

#include "core/cuda/handles.h"

namespace stpl_rt::cuda::emulation {

// At once on the default stream; into the graph where one is recorded on `stream`.
void enqueue(StreamHandle stream, std::function<void()> work);

}  // namespace stpl_rt::cuda::emulation
