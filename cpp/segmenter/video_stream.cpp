#include "segmenter/video_stream.h"

#include <stpl_rt/error.h>

#include <cmath>
#include <string>
#include <utility>

#include "core/image.h"
#include "engine/device_name.h"
#include "ops/preprocess.h"
#include "segmenter/external_flow.h"
#include "segmenter/stream.h"

namespace stpl_rt {

void VideoStream::order_after(void* /*producer*/) {
  throw Error(ErrorCode::unsupported, "order_after: expected a Segmenter on a GPU, found one on the CPU");
}

void refuse_device(const std::string& name, int expected, int found) {
  throw Error(ErrorCode::invalid_argument,
              name + ": expected an array on cuda:" + std::to_string(expected) +
                  ", where this Segmenter is, found one on cuda:" + std::to_string(found) +
                  R"(: make the Segmenter with device "cuda:)" + std::to_string(found) +
                  "\", or copy the array to its GPU");
}

void check_pushed(const Frame& frame, const FrameInfo& info) {
  check_frame(frame);
  if (frame.width > kMaxSide || frame.height > kMaxSide) {
    throw Error(ErrorCode::invalid_argument, "frame: expected a size of at most " + std::to_string(kMaxSide) +
                                                 "x" + std::to_string(kMaxSide) + ", found " +
                                                 std::to_string(frame.width) + "x" +
                                                 std::to_string(frame.height));
  }
  if (info.timestamp && !std::isfinite(*info.timestamp)) {
    throw Error(
        ErrorCode::invalid_argument,
        "timestamp: expected a finite number of seconds, or none, found " + std::to_string(*info.timestamp));
  }
  if (info.flow) check_external_flow(*info.flow);
}

std::unique_ptr<VideoStream> make_stream(const Bundle& bundle, const SegmenterOptions& options,
                                         StreamNetworks networks) {
  if (const auto device = cuda_device(options.device)) {
    return make_device_stream(bundle, options, *device, networks);
  }
  const auto refuse = [](const char* option) {
    throw Error(ErrorCode::invalid_argument,
                std::string(option) + R"(: expected a device "cuda" or "cuda:N", found "cpu")");
  };
  if (options.device_labels) refuse("device_labels");
  if (options.cuda_stream != nullptr) refuse("cuda_stream");
  return std::make_unique<Stream>(bundle, options, std::move(networks));
}

}  // namespace stpl_rt
