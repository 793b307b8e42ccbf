// The NVIDIA GPUs of this machine.
#pragma once

#include <string>

namespace stpl_rt::cuda {

// How many there are; 0 where there is no driver. Never throws, and is what must be asked before anything
// else.
int device_count() noexcept;

// Why there is none, in CUDA's words; empty where there is one.
std::string why_no_device();

// Throws Error(unsupported) where there is no device at all, with the reason; Error(invalid_argument) where
// there is none of this number.
void require_device(int device);

// On which device memory lies; -1 for the host's, and for what CUDA does not know.
int device_of(const void* memory) noexcept;

// The calling thread's device from now on. For threads of our own: one that goes back to device 0, which it
// never used, makes CUDA set that up, too, with some hundred megabytes there. Where it fails, what follows
// says so.
void stay_on(int device) noexcept;

// The calling thread's device, for as long as this lives. Where it is already, nothing is changed, and so no
// context of another library's (PyCUDA's) is put aside. What another thread records in a graph forbids this
// one nothing meanwhile: PyTorch's graphs would, by default.
class DeviceScope {
 public:
  // Throws as require_device() does.
  explicit DeviceScope(int device);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int before_ = 0;
  int capture_mode_ = 0;  // cudaStreamCaptureMode of the thread before
  bool is_changed_ = false;
};

}  // namespace stpl_rt::cuda
