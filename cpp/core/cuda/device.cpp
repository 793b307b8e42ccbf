#include "core/cuda/device.h"

#include <stpl_rt/error.h>

#include "core/cuda/error.h"

namespace stpl_rt::cuda {
namespace {

bool means_no_device(cudaError_t status) {
  return status == cudaErrorInsufficientDriver || status == cudaErrorNoDevice ||
         status == cudaErrorInitializationError || status == cudaErrorStubLibrary;
}

}  // namespace

void fail(cudaError_t status, const char* what) {
  const ErrorCode code = means_no_device(status) ? ErrorCode::unsupported : ErrorCode::engine;
  throw Error(code, std::string("CUDA: ") + what + ": " + cudaGetErrorString(status) + " (" +
                        cudaGetErrorName(status) + ")");
}

int device_count() noexcept {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

std::string why_no_device() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    return std::string(cudaGetErrorString(status)) + " (" + cudaGetErrorName(status) + ")";
  }
  return count > 0 ? "" : "the driver sees no device";
}

void require_device(int device) {
  const std::string reason = why_no_device();
  if (!reason.empty()) {
    throw Error(ErrorCode::unsupported, "CUDA: expected an NVIDIA GPU and its driver, found none: " + reason +
                                            ": use device \"cpu\", or check that nvidia-smi lists the GPU");
  }
  const int count = device_count();
  if (device >= 0 && device < count) return;
  throw Error(ErrorCode::invalid_argument, "device: expected cuda:0 to cuda:" + std::to_string(count - 1) +
                                               ", found cuda:" + std::to_string(device));
}

int device_of(const void* memory) noexcept {
  cudaPointerAttributes found{};
  if (cudaPointerGetAttributes(&found, memory) != cudaSuccess) {
    (void)cudaGetLastError();  // that is the answer, and nobody's failure
    return -1;
  }
  return found.type == cudaMemoryTypeDevice ? found.device : -1;
}

void stay_on(int device) noexcept { (void)cudaSetDevice(device); }

DeviceScope::DeviceScope(int device) {
  require_device(device);
  check(cudaGetDevice(&before_), "which device is in use");
  if (before_ != device) {
    check(cudaSetDevice(device), "choosing a device");
    is_changed_ = true;
  }
  cudaStreamCaptureMode mode = cudaStreamCaptureModeThreadLocal;
  (void)cudaThreadExchangeStreamCaptureMode(&mode);
  capture_mode_ = static_cast<int>(mode);
}

DeviceScope::~DeviceScope() {
  auto mode = static_cast<cudaStreamCaptureMode>(capture_mode_);
  (void)cudaThreadExchangeStreamCaptureMode(&mode);
  if (is_changed_) (void)cudaSetDevice(before_);
}

}  // namespace stpl_rt::cuda
