// The network on the GPU with what lies before and after it: its input, and the logits that are kept.
#pragma once

#include <stpl_rt/bundle.h>
#include <stpl_rt/frame.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/cuda/handles.h"
#include "core/cuda/memory.h"
#include "core/image.h"
#include "engine/device_engine.h"
#include "ops/flow_cuda.h"
#include "ops/geometry.h"
#include "ops/preprocess_cuda.h"

namespace stpl_rt {

struct MapViews {
  ImageView<std::uint8_t> labels;
  ImageView<std::uint8_t> confidence;  // empty: not asked for
};

// Everything is enqueued; nothing waits, nothing is allocated after the construction.
class DeviceNetwork {
 public:
  // `keeps`: whether logits are carried.
  DeviceNetwork(const Bundle& bundle, std::unique_ptr<DeviceEngine> engine, bool keeps);

  void preprocess(const Frame& frame, const cuda::FramePlan& plan, cuda::StreamHandle stream) const;
  // Runs it, counts values that are not finite, and packs the logits into the buffer `kept`, 0 or 1.
  void run(std::size_t kept, cuda::StreamHandle stream);
  // The count of the run whose logits are in `kept`.
  void read_count(std::size_t kept, int* to, cuda::StreamHandle stream) const;
  // What accel mode's networks take: the latest run's logits as input `index` of `of`, and those in `kept`,
  // carried to `geometry`'s output.
  void give(DeviceNetwork& of, std::size_t index, cuda::StreamHandle stream) const;
  void carry(std::size_t kept, const Geometry& geometry, const cuda::ConstFlowPlanes& flow, DeviceNetwork& of,
             std::size_t index, cuda::StreamHandle stream) const;
  // Of the latest run, where it lies.
  void sample(const Geometry& geometry, const MapViews& out, cuda::StreamHandle stream) const;
  // Of what was packed.
  void sample(std::size_t kept, const Geometry& geometry, const cuda::ConstFlowPlanes& flow,
              ImageView<const float> validity, const MapViews& out, cuda::StreamHandle stream) const;
  // The same as dense planes of `geometry`'s output, as floats in host memory; waits.
  void carry(std::size_t kept, const Geometry& geometry, const cuda::ConstFlowPlanes& flow, float* out,
             cuda::StreamHandle stream);
  // What was packed, as the network gave it, likewise.
  void unpack(std::size_t kept, float* out, cuda::StreamHandle stream) const;
  // The latest run's likewise.
  void read_logits(float* out, cuda::StreamHandle stream);

  // Values of the logits.
  [[nodiscard]] std::size_t size() const noexcept;

 private:
  template <class T>
  void to_host(const T* from, float* out, cuda::StreamHandle stream);

  const int classes_;
  const Size grid_;  // of the logits
  const std::unique_ptr<DeviceEngine> engine_;
  std::array<cuda::DeviceBuffer<std::byte>, 2> kept_;
  cuda::DeviceBuffer<std::byte> carried_;
  cuda::DeviceBuffer<int> counts_;  // of the runs that are kept
};

}  // namespace stpl_rt
