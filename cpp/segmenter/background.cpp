#include "segmenter/background.h"

#include <stpl_rt/error.h>

#include <algorithm>
#include <string>
#include <system_error>
#include <utility>

#include "ops/frame_copy.h"
#include "segmenter/external_flow.h"

namespace stpl_rt {
namespace {

// Longer waits would overflow the clock, and so would waits that should have ended long ago.
constexpr std::chrono::milliseconds kLongest = std::chrono::hours(24 * 365);
constexpr std::chrono::milliseconds kShortest{0};

// Whose work the calling thread does.
thread_local const Background* at_work = nullptr;

// Only the host's memory is copied here; and an owner is let go with its pixels, not with the flow.
void check_lent(const Frame& frame, const FrameInfo& info, bool has_owner) {
  if (frame.memory != FrameMemory::host && !has_owner) {
    throw Error(
        ErrorCode::invalid_argument,
        "submit: expected an owner that keeps the pixels of a frame in pinned or device memory, found "
        "none");
  }
  if (info.flow && info.flow->memory == FrameMemory::device && !has_owner) {
    throw Error(ErrorCode::invalid_argument,
                "submit: expected an owner that keeps flow in device memory, found none");
  }
}

}  // namespace

Background::Background(VideoStream& stream, int most)
    : stream_(stream), most_(static_cast<std::size_t>(most)) {
  for (auto* list : {&free_, &waiting_, &done_}) list->reserve(most_);
}

Background::~Background() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  // A GPU may be reading what their owners lend, and results that stay there are finished without a wait.
  if (!done_.empty() || !lent_.empty()) stream_.wait();
}

bool Background::submit(const Frame& frame, const FrameInfo& info, std::shared_ptr<const void> owner,
                        std::optional<std::chrono::milliseconds> patience) {
  check_pushed(frame, info);
  check_lent(frame, info, owner != nullptr);
  let_go();
  std::unique_ptr<Item> item;
  {
    std::unique_lock lock(mutex_);
    const auto has_room = [&] { return in_flight_ < most_; };
    if (!patience) {
      changed_.wait(lock, has_room);
    } else if (!changed_.wait_for(lock, std::clamp(*patience, kShortest, kLongest), has_room)) {
      return false;
    }
    start_thread();
    ++in_flight_;
    if (!free_.empty()) {
      item = std::move(free_.back());
      free_.pop_back();
    }
  }
  try {
    if (!item) item = std::make_unique<Item>();
    item->frame = owner ? frame : copy_frame(frame, item->pixels);
    item->info = info;
    if (info.flow && info.flow->memory != FrameMemory::device) {
      item->info.flow = copy_flow(*info.flow, item->flow);
    }
    item->owner = std::move(owner);
  } catch (...) {
    {
      const std::lock_guard lock(mutex_);
      --in_flight_;
    }
    changed_.notify_all();
    throw;
  }
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(item));
  }
  changed_.notify_all();
  return true;
}

void Background::start_thread() {
  if (thread_.joinable()) return;
  try {
    thread_ = std::thread([this] { work(); });
  } catch (const std::system_error& error) {
    throw Error(ErrorCode::internal, std::string("cannot start a thread: ") + error.what());
  }
}

// Whether what was lent is free once the stream has started on it.
bool Background::is_read(const Item& item) {
  return item.frame.memory == FrameMemory::host &&
         !(item.info.flow && item.info.flow->memory == FrameMemory::device);
}

bool Background::is_own_thread() const noexcept { return at_work == this; }

// It would wait for itself.
void Background::refuse_own_thread(const char* call) const {
  if (!is_own_thread()) return;
  throw Error(ErrorCode::in_use, std::string(call) +
                                     ": expected another thread than the one that lets a submitted frame go, "
                                     "whose work it would wait for");
}

Result Background::collect() {
  refuse_own_thread("collect");
  std::unique_lock lock(mutex_);
  if (in_flight_ == 0) {
    throw Error(ErrorCode::invalid_argument, "collect: expected a submitted frame, found none on its way");
  }
  changed_.wait(lock, [&] { return !done_.empty() || in_flight_ == 0; });
  if (in_flight_ == 0)
    throw Error(ErrorCode::invalid_argument, "collect: the submitted frame could not be copied");
  std::unique_ptr<Item> item = std::move(done_.front());
  done_.erase(done_.begin());
  Result result = std::exchange(item->result, {});
  std::exception_ptr failure = std::exchange(item->failure, nullptr);
  lock.unlock();
  if (!failure) failure = finish(result);
  keep(std::exchange(item->owner, {}), result.device_labels);
  let_go();
  lock.lock();
  --in_flight_;
  free_.push_back(std::move(item));
  lock.unlock();
  changed_.notify_all();
  if (failure) std::rethrow_exception(failure);
  return result;
}

// Where labels stay on the GPU, nobody has waited for it to read the pixels; what failed is read.
void Background::keep(std::shared_ptr<const void> owner, const DeviceMap& until) {
  if (owner == nullptr || until.empty()) return;
  const std::lock_guard lock(mutex_);
  lent_.push_back({std::move(owner), until});
}

// What the GPU has read. Not under the lock: an owner may wait for one of its own (Python's), whose holder
// may wait for ours.
void Background::let_go() {
  const auto is_there = [](const Lent& lent) {
    try {
      return lent.until.is_ready();
    } catch (const Error&) {  // a GPU that failed reads nothing any more
      return true;
    }
  };
  while (true) {
    Lent read;
    const std::lock_guard lock(mutex_);
    if (lent_.empty() || !is_there(lent_.front())) return;
    read = std::move(lent_.front());
    lent_.erase(lent_.begin());
  }
}

std::exception_ptr Background::finish(Result& result) const noexcept {
  try {
    stream_.finish(result);
    return nullptr;
  } catch (...) {
    return std::current_exception();
  }
}

void Background::wait() {
  refuse_own_thread("wait");
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return waiting_.empty() && !works_; });
  lock.unlock();
  stream_.wait();
  let_go();
}

std::size_t Background::pending() const noexcept {
  const std::lock_guard lock(mutex_);
  return in_flight_;
}

void Background::work() {
  at_work = this;
  stream_.enter_thread();
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stop_ || !waiting_.empty(); });
    if (stop_) return;
    std::unique_ptr<Item> item = std::move(waiting_.front());
    waiting_.erase(waiting_.begin());
    works_ = true;
    lock.unlock();
    try {
      item->result = stream_.start(item->frame, item->info);
    } catch (...) {
      item->failure = std::current_exception();
    }
    if (is_read(*item)) item->owner.reset();
    lock.lock();
    done_.push_back(std::move(item));
    works_ = false;
    changed_.notify_all();
  }
}

}  // namespace stpl_rt
