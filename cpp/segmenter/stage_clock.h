// When the stages of a frame's work were passed on the device.
#pragma once

#include <stpl_rt/result.h>

#include <array>
#include <cstddef>
#include <optional>

#include "core/cuda/stream.h"

namespace stpl_rt {

class StageClock {
 public:
  enum Mark : std::size_t { begun, flow_done, preprocess_done, network_done, sample_done, count };

  // For one frame; a clock that is off costs nothing.
  void turn(bool is_on) {
    is_on_ = is_on;
    if (!is_on || events_[0]) return;
    for (auto& event : events_) event.emplace(cuda::Event::Timing::on);
  }
  [[nodiscard]] bool is_on() const noexcept { return is_on_; }

  // All marks of a frame in their order; a stage that was left out takes no time.
  void mark(Mark which, cuda::StreamHandle stream) {
    if (is_on()) events_[which]->record(stream);
  }
  // Once the work is done.
  void read(Timing& timing) const {
    if (!is_on()) return;
    const auto stage = [&](Mark end) {
      return events_[end]->milliseconds_since(*events_[static_cast<std::size_t>(end) - 1]);
    };
    timing.flow_ms = stage(flow_done);
    timing.preprocess_ms = stage(preprocess_done);
    timing.network_ms = stage(network_done);
    timing.sample_ms = stage(sample_done);
  }

 private:
  std::array<std::optional<cuda::Event>, count> events_;
  bool is_on_ = false;
};

}  // namespace stpl_rt
