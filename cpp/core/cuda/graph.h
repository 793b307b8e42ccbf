// Work for the GPU that is recorded once and enqueued as a whole.
#pragma once

#include <utility>

#include "core/cuda/handles.h"

namespace stpl_rt::cuda {

class Graph {
 public:
  Graph() = default;
  ~Graph();
  Graph(Graph&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Graph& operator=(Graph&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // Records what `enqueue` puts on `stream`, which is not run; its arguments stay those of this call.
  // `stream` is not the default stream. Throws what `enqueue` throws, and Error(engine) where it cannot be
  // recorded.
  template <class Enqueue>
  void capture(StreamHandle stream, Enqueue&& enqueue) {
    begin(stream);
    try {
      enqueue(stream);
    } catch (...) {
      abandon(stream);
      throw;
    }
    end(stream);
  }
  // Enqueues it. Of one graph, runs do not overlap.
  void launch(StreamHandle stream) const;
  [[nodiscard]] bool empty() const noexcept { return handle_ == nullptr; }

 private:
  static void begin(StreamHandle stream);
  static void abandon(StreamHandle stream) noexcept;
  void end(StreamHandle stream);

  GraphHandle handle_ = nullptr;
};

}  // namespace stpl_rt::cuda
