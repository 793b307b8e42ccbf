#include "core/cuda/stream.h"

#include "core/cuda/error.h"

namespace stpl_rt::cuda {

Event::Event(Timing timing) {
  const unsigned flags = timing == Timing::on ? cudaEventDefault : cudaEventDisableTiming;
  check(cudaEventCreateWithFlags(&handle_, flags), "making an event");
}

Event::~Event() {
  if (handle_ != nullptr) (void)cudaEventDestroy(handle_);
}

void Event::record(StreamHandle stream) { check(cudaEventRecord(handle_, stream), "recording an event"); }

void Event::wait() const { check(cudaEventSynchronize(handle_), "waiting for an event"); }

bool Event::is_done() const {
  const cudaError_t status = cudaEventQuery(handle_);
  if (status == cudaErrorNotReady) return false;
  check(status, "asking for an event");
  return true;
}

double Event::milliseconds_since(const Event& earlier) const {
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, earlier.handle_, handle_), "time between events");
  return milliseconds;
}

Stream::Stream() { check(cudaStreamCreateWithFlags(&handle_, cudaStreamNonBlocking), "making a stream"); }

Stream::~Stream() {
  if (handle_ != nullptr) (void)cudaStreamDestroy(handle_);
}

void Stream::wait_for(StreamHandle stream) { check(cudaStreamSynchronize(stream), "waiting for a stream"); }

void Stream::wait_for(StreamHandle stream, const Event& event) {
  check(cudaStreamWaitEvent(stream, event.handle(), 0), "waiting for an event in a stream");
}

}  // namespace stpl_rt::cuda
