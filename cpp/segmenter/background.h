// Frames in, results out, the work done by a thread in between.
#pragma once

#include <stpl_rt/segmenter.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "core/image.h"
#include "segmenter/video_stream.h"

namespace stpl_rt {

// A bounded queue before a stream. One thread submits, one collects. The thread is started by the first
// frame.
class Background {
 public:
  Background(VideoStream& stream, int most);
  // Lets the frame in hand end; what waits is dropped.
  ~Background();
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  // See Segmenter; no patience: as long as it takes. Refuses what cannot be copied (Error invalid_argument);
  // all else is refused at collect().
  bool submit(const Frame& frame, const FrameInfo& info, std::shared_ptr<const void> owner,
              std::optional<std::chrono::milliseconds> patience);
  Result collect();
  // Until all that was submitted is done, also by a GPU. Nobody submits in the meantime.
  void wait();
  [[nodiscard]] std::size_t pending() const noexcept;
  // Whether the calling thread is the one that does its work, as where an owner lets go.
  [[nodiscard]] bool is_own_thread() const noexcept;

 private:
  // A frame on its way, with room for its pixels and flow that is used again.
  struct Item {
    Frame frame;
    FrameInfo info;
    std::shared_ptr<const void> owner;
    AlignedBuffer<std::uint8_t> pixels;
    AlignedBuffer<float> flow;
    Result result;
    std::exception_ptr failure;
  };

  // Collected, and perhaps still to be read by a GPU.
  struct Lent {
    std::shared_ptr<const void> owner;
    DeviceMap until;
  };

  static bool is_read(const Item& item);
  void refuse_own_thread(const char* call) const;
  void keep(std::shared_ptr<const void> owner, const DeviceMap& until);
  void let_go();
  void start_thread();
  [[nodiscard]] std::exception_ptr finish(Result& result) const noexcept;
  void work();

  VideoStream& stream_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Item>> free_;
  std::vector<std::unique_ptr<Item>> waiting_;
  std::vector<std::unique_ptr<Item>> done_;
  std::vector<Lent> lent_;
  std::size_t in_flight_ = 0;  // submitted and not collected
  const std::size_t most_;
  bool works_ = false;  // on a frame that is in none of the lists
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace stpl_rt
