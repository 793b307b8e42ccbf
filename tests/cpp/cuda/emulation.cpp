// Host memory in the place of the device's, and queues of this process in the place of its streams.
#include "core/cuda/emulation.h"

#include <stpl_rt/error.h>

#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <new>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/cuda/device.h"
#include "core/cuda/graph.h"
#include "core/cuda/memory.h"
#include "core/cuda/stream.h"
#include "emulation_counts.h"

// What the handles point to.
struct CUgraphExec_st {
  std::vector<std::function<void()>> work;
};
struct CUstream_st {
  std::deque<std::function<void()>> queue;
  std::unique_ptr<CUgraphExec_st> recorded;  // while a graph is
};
struct CUevent_st {
  CUstream_st* stream = nullptr;
  std::shared_ptr<bool> is_passed = std::make_shared<bool>(true);  // of the latest record
};

namespace stpl_rt::cuda {
namespace emulation {

Counts& counts() noexcept {
  static Counts all;
  return all;
}

const void*& elsewhere() noexcept {
  static const void* memory = nullptr;
  return memory;
}

namespace {

// Whether this thread records a graph: what CUDA refuses meanwhile throws here, too.
thread_local bool records = false;

void refuse_in_graph(const char* what) {
  if (records)
    throw Error(ErrorCode::engine, std::string("emulation: ") + what + " while a graph is recorded");
}

// Those that live: a handle of another is one that was kept too long.
std::set<StreamHandle>& streams() {
  static std::set<StreamHandle> all;
  return all;
}

void require_stream(StreamHandle stream) {
  if (stream != nullptr && !streams().contains(stream)) {
    throw Error(ErrorCode::engine, "emulation: a stream that is gone");
  }
}

// Frames may be waited for by another thread than the one that enqueues them.
std::recursive_mutex& device_mutex() {
  static std::recursive_mutex mutex;
  return mutex;
}
using Lock = std::lock_guard<std::recursive_mutex>;

}  // namespace

void enqueue(StreamHandle stream, std::function<void()> work) {
  const Lock lock(device_mutex());
  require_stream(stream);
  if (stream == nullptr) {
    refuse_in_graph("work on the default stream");
    work();
  } else if (stream->recorded) {
    stream->recorded->work.push_back(std::move(work));
  } else {
    stream->queue.push_back(std::move(work));
  }
}

namespace {

void run_next(CUstream_st& stream) {
  const std::function<void()> work = std::move(stream.queue.front());
  stream.queue.pop_front();
  work();
}

void run_all(CUstream_st& stream) {
  const Lock lock(device_mutex());
  while (!stream.queue.empty()) run_next(stream);
}

void run_until(CUstream_st* stream, const bool& is_passed) {
  const Lock lock(device_mutex());
  while (!is_passed) {
    if (stream == nullptr || stream->queue.empty()) {
      throw Error(ErrorCode::internal, "emulation: an event that nothing passes");
    }
    run_next(*stream);
  }
}

}  // namespace
}  // namespace emulation

constexpr std::align_val_t kAlignment{256};  // as cudaMalloc aligns

// Filled with what is neither a likely label nor a small number.
void* allocate(MemoryKind /*kind*/, std::size_t bytes) {
  emulation::refuse_in_graph("memory is allocated");
  ++emulation::counts().allocations;
  void* const memory = ::operator new(bytes, kAlignment);
  std::memset(memory, 0xC7, bytes);
  return memory;
}
void deallocate(MemoryKind /*kind*/, void* memory) noexcept { ::operator delete(memory, kAlignment); }

void copy_bytes(void* to, const void* from, std::size_t bytes, StreamHandle stream) {
  emulation::enqueue(stream, [=] {
    if (bytes > 0) std::memcpy(to, from, bytes);
  });
}

void copy_rows(void* to, std::size_t to_stride, const void* from, std::size_t from_stride,
               std::size_t row_bytes, int rows, StreamHandle stream) {
  emulation::enqueue(stream, [=] {
    for (std::size_t y = 0; y < static_cast<std::size_t>(rows); ++y) {
      std::memcpy(static_cast<char*>(to) + y * to_stride, static_cast<const char*>(from) + y * from_stride,
                  row_bytes);
    }
  });
}

void set_bytes(void* data, int value, std::size_t bytes, StreamHandle stream) {
  emulation::enqueue(stream, [=] { std::memset(data, value, bytes); });
}

Stream::Stream() : handle_(new CUstream_st) {
  const emulation::Lock lock(emulation::device_mutex());
  emulation::streams().insert(handle_);
}
Stream::~Stream() {
  if (handle_ == nullptr) return;
  emulation::run_all(*handle_);
  const emulation::Lock lock(emulation::device_mutex());
  emulation::streams().erase(handle_);
  delete handle_;
}
void Stream::wait_for(StreamHandle stream) {
  emulation::refuse_in_graph("the host waits for a stream");
  ++emulation::counts().waits;
  if (stream != nullptr) emulation::run_all(*stream);
}
void Stream::wait_for(StreamHandle stream, const Event& event) {
  const CUevent_st& source = *event.handle();
  if (source.stream == stream) return;
  emulation::enqueue(stream, [from = source.stream, is_passed = source.is_passed] {
    emulation::run_until(from, *is_passed);
  });
}

Event::Event(Timing /*timing*/) : handle_(new CUevent_st) {}
Event::~Event() { delete handle_; }
void Event::record(StreamHandle stream) {
  const emulation::Lock lock(emulation::device_mutex());
  handle_->stream = stream;
  handle_->is_passed = std::make_shared<bool>(false);
  emulation::enqueue(stream, [is_passed = handle_->is_passed] { *is_passed = true; });
}
void Event::wait() const {
  emulation::refuse_in_graph("the host waits for an event");
  ++emulation::counts().waits;
  emulation::run_until(handle_->stream, *handle_->is_passed);
}
bool Event::is_done() const {
  const emulation::Lock lock(emulation::device_mutex());
  return *handle_->is_passed;
}
double Event::milliseconds_since(const Event& /*earlier*/) const { return 1; }

Graph::~Graph() { delete handle_; }
void Graph::begin(StreamHandle stream) {
  ++emulation::counts().captures;
  stream->recorded = std::make_unique<CUgraphExec_st>();
  emulation::records = true;
}
void Graph::abandon(StreamHandle stream) noexcept {
  emulation::records = false;
  stream->recorded.reset();
}
void Graph::end(StreamHandle stream) {
  emulation::records = false;
  delete handle_;
  handle_ = stream->recorded.release();
}
void Graph::launch(StreamHandle stream) const {
  ++emulation::counts().launches;
  for (const std::function<void()>& work : handle_->work) emulation::enqueue(stream, work);
}

int device_count() noexcept { return 1; }
std::string why_no_device() { return ""; }
int device_of(const void* memory) noexcept {
  return memory != nullptr && memory == emulation::elsewhere() ? 1 : 0;
}
void require_device(int device) {
  if (device != 0) {
    throw Error(ErrorCode::invalid_argument, "device: expected 0, found " + std::to_string(device));
  }
}
void stay_on(int /*device*/) noexcept {}
DeviceScope::DeviceScope(int device) { require_device(device); }
DeviceScope::~DeviceScope() = default;

}  // namespace stpl_rt::cuda
