// What was asked of the emulated device.
#pragma once

namespace stpl_rt::cuda::emulation {

struct Counts {
  int allocations = 0;  // of the device's and of pinned memory
  int waits = 0;        // of the host
  int captures = 0;
  int launches = 0;  // of graphs
  int networks = 0;  // compiled for it
};

Counts& counts() noexcept;

// Memory of a second GPU, as far as anybody asks; null: none.
const void*& elsewhere() noexcept;

}  // namespace stpl_rt::cuda::emulation
