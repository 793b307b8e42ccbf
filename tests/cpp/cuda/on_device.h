// What the tests of kernels share. They are built twice: with nvcc, and run on a GPU (skipped where there is
// none); and without, where the same kernels are loops over host memory (core/cuda/launch.h).
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "core/cuda/device.h"
#include "core/cuda/memory.h"
#include "core/cuda/stream.h"
#include "core/half.h"
#include "ops/flow_cuda.h"
#include "ops/reference.h"

namespace stpl_rt::cuda {

// Mixed into a fixture: its tests need a device.
template <class Base>
class OnDevice : public Base {
 protected:
  void SetUp() override {
    const std::string reason = why_no_device();
    if (!reason.empty()) GTEST_SKIP() << "no GPU: " << reason;
  }
};

// The default stream: the tests enqueue, then wait.
constexpr StreamHandle kStream = nullptr;

template <class T>
DeviceBuffer<T> to_device(const std::vector<T>& host) {
  DeviceBuffer<T> device;
  device.reserve(host.size());
  copy(device.data(), host.data(), host.size(), kStream);
  return device;
}

template <class T>
DeviceImage<T> to_device(ImageView<const T> host) {
  DeviceImage<T> device;
  device.resize(host.width, host.height);
  copy(device.view(), host, kStream);
  return device;
}

inline DeviceFlow to_device(const FlowField& host) {
  DeviceFlow device;
  device.resize(host.width(), host.height());
  copy(device.planes().dx, host.dx.cview(), kStream);
  copy(device.planes().dy, host.dy.cview(), kStream);
  return device;
}

template <class T>
std::vector<T> to_host(const T* device, std::size_t count) {
  std::vector<T> host(count);
  copy(host.data(), device, count, kStream);
  Stream::wait_for(kStream);
  return host;
}

template <class T>
Image<T> to_host(ImageView<const T> device) {
  Image<T> host(device.width, device.height);
  copy(host.view(), device, kStream);
  Stream::wait_for(kStream);
  return host;
}

inline FlowField to_host(const ConstFlowPlanes& device) {
  FlowField host;
  host.dx = to_host(device.dx);
  host.dy = to_host(device.dy);
  return host;
}

// The values as the network's type T holds them, and what the CPU's kernels take of them.
template <class T>
std::vector<T> to_type(const std::vector<float>& values) {
  std::vector<T> typed(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) typed[i] = from_float<T>(values[i]);
  return typed;
}
template <class T>
std::vector<float> to_floats(const std::vector<T>& values) {
  std::vector<float> floats(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) floats[i] = to_float(values[i]);
  return floats;
}

// Pixels in which two images differ by more than `most`.
template <class T>
int count_differing(ImageView<const T> a, ImageView<const T> b, double most) {
  int count = 0;
  for (int y = 0; y < a.height; ++y) {
    for (int x = 0; x < a.width; ++x) {
      const double difference = static_cast<double>(a.row(y)[x]) - static_cast<double>(b.row(y)[x]);
      count += difference <= most && difference >= -most ? 0 : 1;
    }
  }
  return count;
}

inline double mean_distance(const FlowField& a, const FlowField& b) {
  double sum = 0;
  for (int y = 0; y < a.height(); ++y) {
    for (int x = 0; x < a.width(); ++x) {
      sum += std::hypot(a.dx.row(y)[x] - b.dx.row(y)[x], a.dy.row(y)[x] - b.dy.row(y)[x]);
    }
  }
  return sum / (static_cast<double>(a.width()) * a.height());
}

}  // namespace stpl_rt::cuda
