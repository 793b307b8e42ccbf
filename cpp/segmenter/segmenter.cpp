#include <stpl_rt/error.h>
#include <stpl_rt/segmenter.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "bundle/shared_networks.h"
#include "core/thread_pool.h"
#include "core/trace.h"
#include "segmenter/background.h"
#include "segmenter/video_stream.h"

namespace stpl_rt {
namespace {

constexpr int kMaxThreads = 1024;
constexpr int kMaxQueue = 1024;

// Everything in it is made explicit and in range.
SegmenterOptions checked(SegmenterOptions options) {
  const auto refuse = [](const char* what, int least, int most, int found) {
    throw Error(ErrorCode::invalid_argument, std::string(what) + ": expected " + std::to_string(least) +
                                                 " to " + std::to_string(most) + ", found " +
                                                 std::to_string(found));
  };
  if (options.threads < 0 || options.threads > kMaxThreads) {
    refuse("threads (0: all cores)", 0, kMaxThreads, options.threads);
  }
  if (options.queue < 1 || options.queue > kMaxQueue) refuse("queue", 1, kMaxQueue, options.queue);
  if (options.threads == 0) options.threads = available_threads();
  return options;
}

// Takes the Segmenter for one call; another thread's call in the meantime is refused, and one of a forked
// child, where the threads that did the work are not.
class Turn {
 public:
  Turn(std::atomic<bool>& taken, pid_t process) : taken_(taken) {
    if (process != getpid()) {
      throw Error(
          ErrorCode::unsupported,
          "this Segmenter was made before fork(): its threads are the parent's; make one in this process");
    }
    if (taken_.exchange(true, std::memory_order_acquire)) {
      throw Error(ErrorCode::in_use,
                  "this Segmenter is at work for another thread: use one Segmenter for each stream, or one "
                  "lock around its calls");
    }
  }
  ~Turn() { taken_.store(false, std::memory_order_release); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  std::atomic<bool>& taken_;
};

}  // namespace

class Segmenter::Impl {
 public:
  Impl(const Bundle& bundle, const SegmenterOptions& options)
      : bundle_(as_read(bundle)),
        options_(checked(options)),
        schedule_(options_.schedule.value_or(bundle_.default_schedule)),
        stream_(make_stream(bundle_, options_, networks())),
        background_(*stream_, options_.queue) {}
  ~Impl() { Trace::write(); }
  // Of the process that it was made in.
  [[nodiscard]] bool is_here() const noexcept { return process_ == getpid(); }
  [[nodiscard]] bool is_own_thread() const noexcept { return background_.is_own_thread(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Result push(const Frame& frame, const FrameInfo& info) {
    const Turn turn(taken_, process_);
    check_idle("push");
    return stream_->push(frame, info);
  }
  void reset() {
    const Turn turn(taken_, process_);
    check_idle("reset");
    stream_->reset();
  }
  void logits(std::vector<float>& out) {
    const Turn turn(taken_, process_);
    check_idle("logits");
    stream_->logits(out);
  }
  bool submit(const Frame& frame, const FrameInfo& info, std::shared_ptr<const void> owner,
              std::optional<std::chrono::milliseconds> patience) {
    const Turn turn(taken_, process_);
    return background_.submit(frame, info, std::move(owner), patience);
  }
  Result collect() {
    const Turn turn(collecting_, process_);
    return background_.collect();
  }
  void wait() {
    const Turn turn(taken_, process_);
    background_.wait();
  }
  // Nothing in a forked child, where the lock may be held by a thread that is not there.
  [[nodiscard]] std::size_t pending() const noexcept { return is_here() ? background_.pending() : 0; }
  [[nodiscard]] void* cuda_stream() const noexcept { return stream_->cuda_stream(); }
  [[nodiscard]] int cuda_device() const noexcept { return stream_->cuda_device(); }
  [[nodiscard]] std::shared_ptr<void> use_device() const { return stream_->use_device(); }
  void check_device(const void* memory, const std::string& name) const {
    stream_->check_device(memory, name);
  }
  void order_after(void* producer) {
    const Turn turn(taken_, process_);
    stream_->order_after(producer);
  }
  [[nodiscard]] const Bundle& bundle() const noexcept { return bundle_; }
  [[nodiscard]] Schedule schedule() const noexcept { return schedule_; }
  [[nodiscard]] int threads() const noexcept { return options_.threads; }
  [[nodiscard]] int queue() const noexcept { return options_.queue; }

 private:
  static Bundle as_read(const Bundle& bundle) {
    if (!bundle.read_) {
      throw Error(ErrorCode::invalid_argument,
                  "bundle: expected one that was opened, found one that was moved from");
    }
    Bundle copy = *bundle.read_;
    copy.read_ = bundle.read_;
    return copy;
  }

  void check_idle(const char* call) const {
    if (const std::size_t waiting = background_.pending(); waiting > 0) {
      throw Error(ErrorCode::in_use, std::string(call) + ": " + std::to_string(waiting) +
                                         " submitted frames are on their way: collect() their results first");
    }
  }

  StreamNetworks networks() {
    check_accel();
    StreamNetworks all;
    all.segment = network(bundle_.segment);
    if (options_.fuse) all.fuse = network(*bundle_.fuse);
    if (options_.update) all.update = network(*bundle_.update);
    return all;
  }

  void check_accel() const {
    const auto require = [&](bool asked, const std::string& name, bool present) {
      if (asked && !present) {
        throw Error(ErrorCode::invalid_argument, name + ": expected a bundle with a network \"" + name +
                                                     "\", found none in \"" + bundle_.name +
                                                     "\"; adapt with accel.enabled=true and export again");
      }
    };
    require(options_.fuse, "fuse", bundle_.fuse.has_value());
    require(options_.update, "update", bundle_.update.has_value());
    if (options_.fuse && options_.key_lag > 0) {
      throw Error(ErrorCode::invalid_argument, "fuse: expected key_lag 0, found " +
                                                   std::to_string(options_.key_lag) +
                                                   "; a late network's logits are carried, not shown");
    }
    if (options_.update && !schedule_.propagates()) {
      throw Error(
          ErrorCode::invalid_argument,
          "update: expected a schedule with frames between key frames, found " + schedule_.to_string());
    }
  }

  std::shared_ptr<const CompiledNetwork> network(const NetworkSpec& spec) {
    const std::string key = spec.name + " " + options_.device + " " + to_string(options_.precision) + " " +
                            std::to_string(options_.threads) + (options_.trust_engines ? " trusted" : "");
    const PlanOptions plans{.build = options_.build_engines, .trust = options_.trust_engines};
    return std::static_pointer_cast<const CompiledNetwork>(bundle_.compiled_->find_or_make(key, [&] {
      return compile_network(spec, options_.device, options_.precision, options_.threads, plans);
    }));
  }

  const Bundle bundle_;
  const SegmenterOptions options_;
  const Schedule schedule_;
  const std::unique_ptr<VideoStream> stream_;
  Background background_;
  std::atomic<bool> taken_{false};
  std::atomic<bool> collecting_{false};
  const pid_t process_ = getpid();
};

Segmenter::Segmenter(const std::filesystem::path& bundle, const SegmenterOptions& options)
    : Segmenter(Bundle::open(bundle), options) {}
Segmenter::Segmenter(const Bundle& bundle, const SegmenterOptions& options)
    : impl_(std::make_unique<Impl>(bundle, options)) {}
Segmenter::~Segmenter() {
  if (!impl_) return;
  if (!impl_->is_here()) {
    (void)impl_.release();  // threads that are not there cannot be joined
  } else if (impl_->is_own_thread()) {
    // A frame's owner was the last to hold it. No thread can wait for its own end: another one does.
    Impl* const impl = impl_.release();
    try {
      std::thread([impl] { delete impl; }).detach();
    } catch (
        const std::system_error&) {  // NOLINT(bugprone-empty-catch): then it stays until the process ends
    }
  }
}
Segmenter::Segmenter(Segmenter&&) noexcept = default;
Segmenter& Segmenter::operator=(Segmenter&& other) noexcept {
  const Segmenter old(std::move(*this));
  impl_ = std::move(other.impl_);
  return *this;
}

Result Segmenter::push(const Frame& frame, const FrameInfo& info) { return impl_->push(frame, info); }
Result Segmenter::push(const Frame& frame, const FlowView& flow) {
  return impl_->push(frame, {.timestamp = {}, .flow = flow});
}
void Segmenter::reset() { impl_->reset(); }
void Segmenter::submit(const Frame& frame, const FrameInfo& info, std::shared_ptr<const void> owner) {
  (void)impl_->submit(frame, info, std::move(owner), std::nullopt);
}
bool Segmenter::try_submit(const Frame& frame, const FrameInfo& info, std::shared_ptr<const void> owner,
                           std::chrono::milliseconds patience) {
  return impl_->submit(frame, info, std::move(owner), patience);
}
Result Segmenter::collect() { return impl_->collect(); }
void Segmenter::wait() { impl_->wait(); }
std::size_t Segmenter::pending() const noexcept { return impl_->pending(); }
void Segmenter::logits(std::vector<float>& out) { impl_->logits(out); }
void* Segmenter::cuda_stream() const noexcept { return impl_->cuda_stream(); }
int Segmenter::cuda_device() const noexcept { return impl_->cuda_device(); }
std::shared_ptr<void> Segmenter::use_device() const { return impl_->use_device(); }
void Segmenter::check_device(const void* memory, const std::string& name) const {
  impl_->check_device(memory, name);
}
void Segmenter::order_after(void* producer) { impl_->order_after(producer); }
const Bundle& Segmenter::bundle() const noexcept { return impl_->bundle(); }
Schedule Segmenter::schedule() const noexcept { return impl_->schedule(); }
int Segmenter::threads() const noexcept { return impl_->threads(); }
int Segmenter::queue() const noexcept { return impl_->queue(); }

}  // namespace stpl_rt
