// What one push() returns.
#pragma once

#include <stpl_rt/byte_map.h>
#include <stpl_rt/device_map.h>
#include <stpl_rt/export.h>

#include <cstdint>

namespace stpl_rt {

// Why the network ran on a frame.
enum class KeyReason : std::uint8_t {
  none,         // it did not: the labels were propagated
  first,        // the first frame, or the first after reset()
  schedule,     // the schedule's turn: the interval is over
  drift,        // what was carried can no longer be trusted (adaptive schedules)
  scene_cut,    // the frame does not continue the one before
  gap,          // frames are missing, by their timestamps
  size_change,  // the frame's size or pixel format changed
};

STPL_RT_API const char* to_string(KeyReason reason) noexcept;

// Wall-clock milliseconds spent in each stage of one push(). On a GPU the stages are timed by the device, and
// only where push() waits for the labels.
struct Timing {
  double preprocess_ms = 0;
  double flow_ms = 0;  // luma pyramid, flow, composition and validity
  double network_ms = 0;
  double sample_ms = 0;  // sampling + argmax
  double total_ms = 0;
};

struct Result {
  ByteMap labels;      // class ids in the order of the bundle's classes, at the frame's size
  ByteMap confidence;  // round(255 * softmax maximum * validity); empty unless asked for
  // The same on a GPU with SegmenterOptions::device_labels, in place of those above.
  DeviceMap device_labels;
  DeviceMap device_confidence;
  KeyReason key_reason = KeyReason::none;
  bool is_key = false;            // the network ran on this frame, or, with key_lag, was started on it
  int age = 0;                    // frames since the key frame whose logits are shown
  double drift = 0;               // of the frames since the key frame, summed; what adaptive schedules go by.
                                  // On a GPU 0 with other schedules, which do not wait for it
  std::uint64_t frame_index = 0;  // since construction, from 0; reset() does not rewind it
  Timing timing;
};

}  // namespace stpl_rt
