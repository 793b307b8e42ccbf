// Frames whose work is enqueued and may not be done.
#pragma once

#include <stpl_rt/error.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "core/cuda/device.h"
#include "core/cuda/memory.h"
#include "core/cuda/stream.h"
#include "core/device_work.h"
#include "ops/finite.h"

namespace stpl_rt {

// The work of one frame, and how many values of its logits were not finite, which is known once it is done.
class FrameWork final : public DeviceWork {
 public:
  // Of the network whose logits are shown, and of the one that was run on them.
  using Counts = std::array<int, 2>;

  FrameWork(int device, cuda::StreamHandle stream, std::size_t values)
      : device_(device), stream_(stream), values_(values) {
    counts_.reserve(1);
  }

  [[nodiscard]] int device() const noexcept override { return device_; }
  [[nodiscard]] void* stream() const noexcept override { return stream_; }
  // These three by any thread, whatever its device: the default stream is that of the device in use.
  [[nodiscard]] bool is_ready() const override {
    const cuda::DeviceScope scope(device_);
    return is_done();
  }
  void precede(void* reader) const override {
    const cuda::DeviceScope scope(device_);
    cuda::Stream::wait_for(static_cast<cuda::StreamHandle>(reader), done_);
  }
  void wait() const override {
    const cuda::DeviceScope scope(device_);
    done_.wait();
    const int found = not_finite();
    if (found == 0) return;
    is_told_ = true;
    throw not_finite_error(static_cast<std::size_t>(found), values_);
  }

  // For its maker, on its device.
  [[nodiscard]] bool is_done() const { return done_.is_done(); }
  void wait_until_done() const { done_.wait(); }
  // Before anybody else has it.
  void begin() {
    *counts_.data() = {};
    is_told_ = false;
  }
  // Where they are to be left, 0 until then.
  [[nodiscard]] int* counts() const noexcept { return counts_.data()->data(); }
  void end() { done_.record(stream_); }
  // Once it is done.
  [[nodiscard]] int not_finite() const noexcept {
    const Counts& counts = *counts_.data();
    return counts[0] > 0 ? counts[0] : counts[1];
  }
  // Whether wait() has thrown.
  [[nodiscard]] bool is_told() const noexcept { return is_told_; }

 private:
  const int device_;
  const cuda::StreamHandle stream_;
  const std::size_t values_;  // of the logits
  cuda::Event done_;
  cuda::PinnedBuffer<Counts> counts_;
  mutable std::atomic<bool> is_told_{false};
};

class FramesInFlight {
 public:
  // The host is never further ahead: whoever pushes faster than the GPU works waits here.
  static constexpr std::size_t kMost = 8;

  // As FrameWork's.
  FramesInFlight(int device, cuda::StreamHandle stream, std::size_t values)
      : device_(device), stream_(stream), values_(values) {}

  // For the next frame; end() it after all of its work.
  std::shared_ptr<FrameWork> begin() {
    std::shared_ptr<FrameWork>& place = latest_[next_];
    if (place) close(place);
    place = take();
    place->begin();
    next_ = (next_ + 1) % kMost;
    return place;
  }
  // What frames that are done have had of values that are not finite. Does not wait.
  struct Failures {
    bool any = false;
    int untold = 0;  // of those that nobody has waited for
  };
  Failures take_failures() {
    for (std::shared_ptr<FrameWork>& place : latest_) {
      if (place && place->is_done()) close(place);
    }
    return std::exchange(failures_, {});
  }
  // That of the latest frame is known already.
  void forget_latest() noexcept { latest_[(next_ + kMost - 1) % kMost].reset(); }

 private:
  // Made anew only where all are held.
  std::shared_ptr<FrameWork> take() {
    for (const auto& work : all_) {
      if (work.use_count() != 1) continue;
      std::atomic_thread_fence(std::memory_order_acquire);  // after all that its last holder did
      return work;
    }
    auto work = std::make_shared<FrameWork>(device_, stream_, values_);
    if (all_.size() < kMostKept) all_.push_back(work);
    return work;
  }
  void close(std::shared_ptr<FrameWork>& place) {
    if (!place->is_done()) place->wait_until_done();
    const int found = place->not_finite();
    if (found > 0) {
      failures_.any = true;
      if (!place->is_told()) failures_.untold = std::max(failures_.untold, found);
    }
    place.reset();
  }

  static constexpr std::size_t kMostKept = 64;
  const int device_;
  const cuda::StreamHandle stream_;
  const std::size_t values_;
  std::array<std::shared_ptr<FrameWork>, kMost> latest_;
  std::vector<std::shared_ptr<FrameWork>> all_;
  std::size_t next_ = 0;
  Failures failures_;
};

}  // namespace stpl_rt
