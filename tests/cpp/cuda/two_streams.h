// The same frames through a stream on the processor and one on a GPU, compared.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "closed_form_network.h"
#include "host_network_engine.h"
#include "on_device.h"
#include "segmenter/device_stream.h"
#include "segmenter/stream.h"
#include "test_bundle.h"

namespace stpl_rt::test {

// What is done with one frame.
struct Step {
  Frame frame;
  FrameInfo info;
  bool reset = false;  // before it
};

// Of the networks' tensors on the device.
struct Types {
  TensorType segment = TensorType::f32, accel = TensorType::f32;
};

// The networks of `bundle`, on the processor; fuse and update where options ask for them.
struct HostNetworks {
  HostNetworks(const Bundle& of, const SegmenterOptions& options) : bundle(of) {
    const auto compile = [&](const NetworkSpec& spec) {
      return std::make_shared<const ClosedFormNetwork>(bundle, spec);
    };
    networks.segment = compile(bundle.segment);
    if (options.fuse) networks.fuse = compile(*bundle.fuse);
    if (options.update) networks.update = compile(*bundle.update);
  }
  // Behind the interface of a GPU's: `segment` with tensors of the one type, fuse and update of the other.
  [[nodiscard]] DeviceEngines engines(Types types = {}) const {
    const auto make = [&](const auto& network, const NetworkSpec& spec, TensorType type) {
      return std::make_unique<HostNetworkEngine>(network->make_engine(), spec, type);
    };
    DeviceEngines engines{
        .segment = make(networks.segment, bundle.segment, types.segment), .fuse = {}, .update = {}, .of = {}};
    if (networks.fuse) engines.fuse = make(networks.fuse, *bundle.fuse, types.accel);
    if (networks.update) engines.update = make(networks.update, *bundle.update, types.accel);
    return engines;
  }
  const Bundle& bundle;
  StreamNetworks networks;
};

inline SegmenterOptions with(const std::string& schedule, int key_lag = 0) {
  return {.schedule = Schedule::parse(schedule), .threads = 2, .confidence = true, .key_lag = key_lag};
}

class TwoStreams {
 public:
  TwoStreams(const fs::path& bundle, const SegmenterOptions& options, const DeviceOptions& device,
             Types types = {})
      : bundle_(Bundle::open(bundle)),
        networks_(bundle_, options),
        host_(bundle_, on_host(options), networks_.networks),
        device_(DeviceStream::make(bundle_, options, device, networks_.engines(types))) {}

  // Expects the same of both for each frame, then the same labels. `memory`: where the GPU finds them.
  void push(const std::vector<Step>& steps, FrameMemory memory) {
    for (const Step& step : steps) {
      if (step.reset) {
        host_.reset();
        device_->reset();
      }
      SCOPED_TRACE("frame " + std::to_string(expected_.size()));
      expected_.push_back(host_.push(step.frame, step.info));
      found_.push_back(device_->push(placed(step.frame, memory), step.info));
      compare_decisions(expected_.back(), found_.back());
    }
    cuda::Stream::wait_for(stream());
    double pixels = 0, labels = 0, confidence = 0;
    for (std::size_t i = 0; i < expected_.size(); ++i) {
      SCOPED_TRACE("frame " + std::to_string(i));
      const Result& e = expected_[i];
      const Result& f = found_[i];
      labels += count_differing(e.labels, f.labels, f.device_labels, 0);
      pixels += static_cast<double>(e.labels.size());
      confidence += count_differing(e.confidence, f.confidence, f.device_confidence, 1);
    }
    EXPECT_LE(labels, most_labels * pixels) << "labels of " << pixels;
    EXPECT_LE(confidence, most_confidence * pixels) << "confidence of " << pixels;
  }

  Stream& host() { return host_; }
  DeviceStream& device() { return *device_; }
  [[nodiscard]] cuda::StreamHandle stream() const {
    return static_cast<cuda::StreamHandle>(device_->cuda_stream());
  }
  const std::vector<Result>& expected() const { return expected_; }
  const std::vector<Result>& found() const { return found_; }

  // Shares of pixels whose labels may differ, and whose confidence may by more than 1.
  double most_labels = 1e-4;
  double most_confidence = 1e-4;

 private:
  static void compare_decisions(const Result& expected, const Result& found) {
    EXPECT_EQ(expected.key_reason, found.key_reason);
    EXPECT_EQ(expected.is_key, found.is_key);
    EXPECT_EQ(expected.age, found.age);
    EXPECT_EQ(expected.frame_index, found.frame_index);
    if (found.drift > 0) {
      EXPECT_NEAR(expected.drift, found.drift, 1e-3 + 1e-3 * expected.drift);
    }
  }

  static SegmenterOptions on_host(SegmenterOptions options) {
    options.device_labels = false;
    options.cuda_stream = nullptr;
    return options;
  }

  // Pixels that differ by more than `most`; one of the maps that were found is empty.
  static int count_differing(const ByteMap& expected, const ByteMap& host, const DeviceMap& device,
                             int most) {
    EXPECT_TRUE(expected.empty() || host.empty() != device.empty());
    const std::vector<std::uint8_t> found =
        device.empty() ? std::vector<std::uint8_t>(host.bytes().begin(), host.bytes().end())
                       : cuda::to_host(device.data(), device.size());
    EXPECT_EQ(found.size(), expected.size());
    EXPECT_EQ(host.width() + device.width(), expected.width());
    if (found.size() != expected.size()) return 0;
    int differing = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (std::abs(int{found[i]} - int{expected.data()[i]}) > most) ++differing;
    }
    return differing;
  }

  // Copies that stay until the test ends, for nobody waits for the frame; with a pitch and chroma of their
  // own. A stream of our own does not wait for the default one: the copy has to be there before it is pushed.
  Frame placed(const Frame& frame, FrameMemory memory) {
    if (memory != FrameMemory::device) return frame;
    FrameUpload& upload = uploads_.emplace_back();
    upload.prepare(frame);
    upload.upload(frame, nullptr);
    cuda::Stream::wait_for(nullptr);
    return upload.staged();
  }

  const Bundle bundle_;
  const HostNetworks networks_;
  Stream host_;
  std::deque<FrameUpload> uploads_;
  std::unique_ptr<DeviceStream> device_;
  std::vector<Result> expected_;
  std::vector<Result> found_;
};

// --- Frames ---

inline std::vector<Picture> drive(int count, double speed = 2, int width = 320, int height = 192,
                                  int scene = 0) {
  std::vector<Picture> pictures;
  for (int t = 0; t < count; ++t) pictures.push_back(textured_picture(width, height, speed * t, 0, scene));
  return pictures;
}

inline std::vector<Step> steps_of(const std::vector<Picture>& pictures) {
  std::vector<Step> steps;
  for (const Picture& picture : pictures) steps.push_back({.frame = picture.frame(), .info = {}});
  return steps;
}

}  // namespace stpl_rt::test
