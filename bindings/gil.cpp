#include "gil.h"

#include <unistd.h>

namespace stpl_rt::bindings {

GilReleased::~GilReleased() {
  try {
    PyEval_RestoreThread(state_);
  } catch (...) {  // glibc unwinds a thread that ends; to go on unwinding would reach this noexcept
    while (true) pause();
  }
}

}  // namespace stpl_rt::bindings
