// Queues of work for the GPU, and marks in them.
#pragma once

#include <utility>

#include "core/cuda/handles.h"

namespace stpl_rt::cuda {

// A mark in a stream; with timing, when it was passed.
class Event {
 public:
  enum class Timing { off, on };
  // On the calling thread's device.
  explicit Event(Timing timing = Timing::off);
  ~Event();
  Event(Event&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(StreamHandle stream);
  // Waits on the host. Throws Error(engine) where the work before it failed.
  void wait() const;
  [[nodiscard]] bool is_done() const;
  // Of two events with timing that are done.
  [[nodiscard]] double milliseconds_since(const Event& earlier) const;
  [[nodiscard]] EventHandle handle() const noexcept { return handle_; }

 private:
  EventHandle handle_ = nullptr;
};

class Stream {
 public:
  // Of our own, on the calling thread's device; it does not wait for the legacy default stream.
  Stream();
  ~Stream();
  Stream(Stream&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Stream& operator=(Stream&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  [[nodiscard]] StreamHandle handle() const noexcept { return handle_; }
  // Waits on the host. Throws Error(engine) where what was enqueued failed.
  void wait() const { wait_for(handle_); }

  static void wait_for(StreamHandle stream);
  // What is enqueued on `stream` from now on waits for the event, on the device.
  static void wait_for(StreamHandle stream, const Event& event);

 private:
  StreamHandle handle_ = nullptr;
};

}  // namespace stpl_rt::cuda
