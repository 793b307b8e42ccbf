#include "segmenter/device_stream.h"

#include <stpl_rt/error.h>

#include <cstring>
#include <string>
#include <utility>

#include "core/cuda/device.h"
#include "core/stopwatch.h"
#include "ops/compose_cuda.h"
#include "ops/geometry.h"
#include "segmenter/scene_cut.h"

namespace stpl_rt {
namespace {

// As Stream's.
constexpr DisOptions kFlow{.finest_scale = 1};

// The stream of each thread is another one to the thread that works on submitted frames.
void check_stream(const void* stream) {
  if (stream != cuda::per_thread_stream()) return;
  throw Error(
      ErrorCode::invalid_argument,
      "cuda_stream: expected a stream that is the same in every thread, found cudaStreamPerThread (2); "
      "make one with cudaStreamCreate, or leave it out");
}

Schedule schedule_of(const SegmenterOptions& options, const Bundle& bundle) {
  return options.schedule.value_or(bundle.default_schedule);
}

}  // namespace

std::unique_ptr<DeviceStream> DeviceStream::make(const Bundle& bundle, const SegmenterOptions& options,
                                                 const DeviceOptions& device, DeviceEngines engines) {
  check_stream(options.cuda_stream);
  const cuda::DeviceScope scope(device.device);
  return std::unique_ptr<DeviceStream>(new DeviceStream(bundle, options, device, std::move(engines)));
}

std::unique_ptr<VideoStream> make_device_stream(const Bundle& bundle, const SegmenterOptions& options,
                                                int device, const StreamNetworks& networks) {
  const auto engine = [](const std::shared_ptr<const CompiledNetwork>& network) {
    return network ? network->make_device_engine() : nullptr;
  };
  return DeviceStream::make(bundle, options, {.device = device},
                            {.segment = engine(networks.segment),
                             .fuse = engine(networks.fuse),
                             .update = engine(networks.update),
                             .of = networks});
}

DeviceStream::DeviceStream(const Bundle& bundle, const SegmenterOptions& options, const DeviceOptions& device,
                           DeviceEngines engines)
    : bundle_(bundle),
      device_(device),
      networks_(std::move(engines.of)),
      device_labels_(options.device_labels),
      confidence_(options.confidence),
      adaptive_(schedule_of(options, bundle).kind() == Schedule::Kind::adaptive),
      carries_(schedule_of(options, bundle).propagates() || engines.fuse != nullptr),
      scene_cuts_(options.scene_cuts && carries_),
      flow_check_(options.flow_check && carries_),
      grid_(carries_ ? Size{bundle.input.width, bundle.input.height} : Size{}),
      policy_(schedule_of(options, bundle), options.key_lag, carries_),
      stream_(options.cuda_stream != nullptr ? static_cast<cuda::StreamHandle>(options.cuda_stream)
                                             : own_stream_.emplace().handle()),
      network_(bundle, std::move(engines.segment), carries_),
      in_flight_(device.device, stream_, network_.size()),
      device_maps_(device.device, pooled_maps(options.queue)),
      host_maps_(cuda::PinnedBlock::make, pooled_maps(options.queue)),
      dis_(kFlow),
      ways_{DevicePropagation(grid_, confidence_ || flow_check_),
            DevicePropagation(options.key_lag > 0 ? grid_ : Size{}, confidence_ || flow_check_)} {
  if (engines.fuse) fuse_.emplace(bundle, std::move(engines.fuse), false);
  if (engines.update) update_.emplace(bundle, std::move(engines.update), false);
  if (options.key_lag > 0) network_stream_.emplace();
  numbers_.reserve(1);
  if (carries_) {
    for (LumaFrame& frame : frames_) {
      frame.luma.resize(grid_.width, grid_.height);
      frame.pyramid.prepare(dis_.layout(grid_));
    }
    dis_.prepare(grid_);
    latest_.resize(grid_.width, grid_.height);
    none_.resize(grid_.width, grid_.height);
    none_.fill_zero(stream_);
    if (flow_check_) back_.resize(grid_.width, grid_.height);
    moments_.reserve(cuda::kSimilarityScratch);
  }
}

// What is on its way uses our memory.
DeviceStream::~DeviceStream() { DeviceStream::wait(); }

void DeviceStream::wait() noexcept {
  try {
    const cuda::DeviceScope scope(device_.device);
    if (network_stream_) network_stream_->wait();
    cuda::Stream::wait_for(stream_);
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch): a device that failed runs nothing any more
  }
}

Result DeviceStream::push(const Frame& frame, const FrameInfo& info) {
  check_pushed(frame, info);
  return segment(frame, info, !device_labels_);
}

Result DeviceStream::start(const Frame& frame, const FrameInfo& info) { return segment(frame, info, false); }

void DeviceStream::finish(Result& result) const {
  if (device_labels_) return;
  const DeviceMap labels = std::exchange(result.device_labels, {});
  result.device_confidence = {};
  labels.wait();
}

Result DeviceStream::segment(const Frame& frame, const FrameInfo& info, bool waits) {
  Result result;
  {
    const Stopwatch total("push", result.timing.total_ms);
    const cuda::DeviceScope scope(device_.device);
    if (const auto failures = in_flight_.take_failures(); failures.any) {
      policy_.restart();
      if (device_labels_ && failures.untold > 0) {
        throw not_finite_error(static_cast<std::size_t>(failures.untold), network_.size());
      }
    }
    try {
      if (!upload_.fits(frame)) prepare(frame);
      segment(frame, info, waits, result);
    } catch (...) {
      wait();  // whoever lent the frame lets it go now, and its upload may be on its way
      throw;
    }
  }
  return result;
}

// Another size, format or encoding: everything that depends on it, once nothing uses it any more.
void DeviceStream::prepare(const Frame& frame) {
  if (network_stream_) network_stream_->wait();
  cuda::Stream::wait_for(stream_);
  graphs_.clear();
  upload_.forget();  // until all is made: what fails half-way is begun anew with the next frame
  plan_.prepare({frame.width, frame.height}, bundle_.input, carries_ ? grid_ : Size{1, 1}, stream_);
  upload_.prepare(frame);
}

template <class Enqueue>
void DeviceStream::run(Part part, std::uint32_t constellation, cuda::StreamHandle stream, Enqueue&& enqueue) {
  if (!device_.graphs) {
    enqueue(stream);
  } else {
    graphs_.run(constellation << 3U | static_cast<std::uint32_t>(part), stream, enqueue);
  }
}

void DeviceStream::segment(const Frame& frame, const FrameInfo& info, bool waits, Result& result) {
  const Geometry geometry = make_geometry({frame.width, frame.height}, bundle_.input, bundle_.logits);
  result.frame_index = next_index_;
  result.key_reason = policy_.before_flow(frame, info.timestamp);
  upload_.upload(frame, stream_);
  work_ = in_flight_.begin();
  clock_.turn(waits);
  clock_.mark(StageClock::begun, stream_);
  if (carries_) {
    frames_[current()].has_pyramid = false;
    const bool fuses = fuse_ && result.key_reason == KeyReason::schedule;
    if (result.key_reason == KeyReason::none || fuses) {
      const KeyReason found = follow(info);
      if (found != KeyReason::none) result.key_reason = found;
    } else {
      run(Part::luma, static_cast<std::uint32_t>(past_), stream_, [&](cuda::StreamHandle stream) {
        cuda::luma(upload_.staged(), plan_, frames_[current()].luma.view(), stream);
      });
    }
  }
  clock_.mark(StageClock::flow_done, stream_);
  const bool was_pending = policy_.is_pending();
  if (result.key_reason == KeyReason::none) {
    adopt_if_due();
    result.drift = shown().next_drift();
    result.key_reason = policy_.after_flow(result.drift);
  }
  result.is_key = result.key_reason != KeyReason::none;
  if (result.is_key && !policy_.runs_behind(result.key_reason)) {
    show_key(geometry, result);
  } else {
    show_propagated(geometry, result);
    if (result.is_key) start_network();
  }
  // A late network was adopted, and the flow of what was shown before not followed; or it was given up.
  end(result, was_pending && !policy_.is_pending(), waits);
  commit(frame, info, result, geometry);
  result.age = shown().age();
}

// Flow to the past frame, and by it back to the key frames. Returns scene_cut where there is none.
KeyReason DeviceStream::follow(const FrameInfo& info) {
  if (info.flow) read_external_flow(*info.flow);
  const bool has_flow = info.flow.has_value();
  const bool follows_shown = !policy_.is_adoption_due();
  std::uint32_t constellation = 0;
  for (const bool bit : {past_ == 1, shown_ == 1, has_flow, frames_[past_].has_pyramid, follows_shown,
                         shown().age() == 0, policy_.is_pending(), pending().age() == 0}) {
    constellation = constellation << 1U | (bit ? 1U : 0U);
  }
  run(Part::follow, constellation, stream_,
      [&](cuda::StreamHandle stream) { enqueue_follow(has_flow, follows_shown, stream); });
  if (!has_flow) {
    for (LumaFrame& frame : frames_) frame.has_pyramid = true;
  }
  return scene_cuts_ || adaptive_ ? read_numbers(follows_shown) : KeyReason::none;
}

void DeviceStream::enqueue_follow(bool has_flow, bool follows_shown, cuda::StreamHandle stream) {
  LumaFrame& now = frames_[current()];
  LumaFrame& before = frames_[past_];
  cuda::luma(upload_.staged(), plan_, now.luma.view(), stream);
  if (!has_flow) {
    if (!before.has_pyramid) before.pyramid.build(before.luma.cview(), stream);
    now.pyramid.build(now.luma.cview(), stream);
    dis_.compute(now.pyramid, before.pyramid, latest_.planes(), stream);
    if (flow_check_) dis_.compute(before.pyramid, now.pyramid, back_.planes(), stream);
  }
  const cuda::ConstFlowPlanes back = back_.cplanes();
  const DevicePropagation::Step step = {now.luma.cview(),
                                        before.luma.cview(),
                                        latest_.cplanes(),
                                        none_.cplanes(),
                                        flow_check_ && !has_flow ? &back : nullptr,
                                        current()};
  Numbers& numbers = *numbers_.data();
  if (scene_cuts_) {
    cuda::similarity(step.current, step.past, step.latest, moments_.data(), &numbers.moments, stream);
  }
  const auto follow = [&](std::size_t way) {
    ways_[way].follow(step, adaptive_ ? &numbers.drift[way] : nullptr, stream);
  };
  if (follows_shown) follow(shown_);
  if (policy_.is_pending()) follow(1 - shown_);
}

// Of the host's flow a copy, packed.
FlowView DeviceStream::on_device(const FlowView& flow) {
  if (flow.memory == FrameMemory::device) return flow;
  const std::size_t row_bytes = 2 * sizeof(float) * static_cast<std::size_t>(flow.width);
  const std::size_t bytes = row_bytes * static_cast<std::size_t>(flow.height);
  const std::ptrdiff_t stride = flow.stride != 0 ? flow.stride : std::ptrdiff_t{2} * flow.width;
  std::byte* to = flow_staging_.fill(bytes);
  for (int y = 0; y < flow.height; ++y, to += row_bytes) std::memcpy(to, flow.data + y * stride, row_bytes);
  if (bytes > flow_input_.capacity()) {
    cuda::Stream::wait_for(stream_);  // what it replaces may be in use
    flow_input_.reserve(bytes);
  }
  flow_staging_.send(flow_input_.data(), bytes, stream_);
  return {
      .data = reinterpret_cast<const float*>(flow_input_.data()), .width = flow.width, .height = flow.height};
}

void DeviceStream::read_external_flow(const FlowView& flow) {
  const Frame& frame = upload_.staged();
  cuda::read_flow(on_device(flow), {frame.width, frame.height}, bundle_.input, latest_.planes(), stream_);
}

// The one place at which a frame waits half-way.
KeyReason DeviceStream::read_numbers(bool follows_shown) {
  numbers_ready_.record(stream_);
  numbers_ready_.wait();
  const Numbers& numbers = *numbers_.data();
  if (scene_cuts_) {
    const int blocks = BlockSpread(grid_).count;
    if (is_scene_cut(to_similarity(numbers.moments.along_flow, blocks),
                     to_similarity(numbers.moments.in_place, blocks))) {
      return KeyReason::scene_cut;
    }
  }
  if (adaptive_) {
    if (follows_shown) shown().note_drift(numbers.drift[shown_]);
    if (policy_.is_pending()) pending().note_drift(numbers.drift[1 - shown_]);
  }
  return KeyReason::none;
}

// What the network said of the pending key frame is shown from here on; see Stream.
void DeviceStream::adopt_if_due() {
  if (!policy_.is_adoption_due()) return;
  drop_pending();
  shown_ = 1 - shown_;
  logits_ = 1 - logits_;
}

// Whatever comes next on our stream may use the network and its buffers.
void DeviceStream::drop_pending() {
  if (!policy_.is_pending()) return;
  cuda::Stream::wait_for(stream_, network_ready_);
  policy_.drop_pending();
}

void DeviceStream::show_key(const Geometry& geometry, Result& result) {
  drop_pending();
  has_logits_ = false;  // the network writes over them
  run_network();
  const std::size_t kept = 1 - logits_;
  network_.read_count(kept, work_->counts(), stream_);
  const bool has_past = result.key_reason == KeyReason::schedule || result.key_reason == KeyReason::drift;
  const bool fuses = fuse_ && has_past;
  if (fuses) run_fuse(geometry);
  clock_.mark(StageClock::network_done, stream_);
  (fuses ? *fuse_ : network_).sample(geometry, allocate(result, geometry.output), stream_);
}

void DeviceStream::run_network() {
  const auto enqueue_preprocess = [&](cuda::StreamHandle stream) {
    network_.preprocess(upload_.staged(), plan_, stream);
  };
  const auto enqueue_network = [&](cuda::StreamHandle stream) { network_.run(1 - logits_, stream); };
  const auto kept = static_cast<std::uint32_t>(1 - logits_);
  if (clock_.is_on()) {
    run(Part::preprocess, 0, stream_, enqueue_preprocess);
    clock_.mark(StageClock::preprocess_done, stream_);
    run(Part::network, kept, stream_, enqueue_network);
    return;
  }
  run(Part::key, kept, stream_, [&](cuda::StreamHandle stream) {
    enqueue_preprocess(stream);
    enqueue_network(stream);
  });
}

std::uint32_t DeviceStream::carried_constellation() const noexcept {
  return static_cast<std::uint32_t>(shown_ << 2U | current() << 1U | logits_);
}

void DeviceStream::run_fuse(const Geometry& geometry) {
  run(Part::fuse, carried_constellation(), stream_, [&](cuda::StreamHandle stream) {
    network_.give(*fuse_, 0, stream);
    network_.carry(logits_, make_logits_geometry(geometry), shown().flow(current()), *fuse_, 1, stream);
    fuse_->run(0, stream);
  });
  fuse_->read_count(0, work_->counts() + 1, stream_);
}

void DeviceStream::run_update(const Geometry& geometry) {
  run(Part::update, carried_constellation(), stream_, [&](cuda::StreamHandle stream) {
    update_->preprocess(upload_.staged(), plan_, stream);
    network_.carry(logits_, make_logits_geometry(geometry), shown().flow(current()), *update_, 1, stream);
    update_->run(0, stream);
  });
  update_->read_count(0, work_->counts() + 1, stream_);
}

void DeviceStream::show_propagated(const Geometry& geometry, Result& result) {
  network_.read_count(logits_, work_->counts(), stream_);
  clock_.mark(StageClock::preprocess_done, stream_);
  if (update_) run_update(geometry);
  clock_.mark(StageClock::network_done, stream_);
  const MapViews out = allocate(result, geometry.output);
  if (update_) {
    update_->sample(geometry, out, stream_);
  } else {
    network_.sample(logits_, geometry, shown().flow(current()), shown().validity(current()), out, stream_);
  }
}

// On a stream of its own, between two events of ours.
void DeviceStream::start_network() {
  run(Part::preprocess, 0, stream_,
      [&](cuda::StreamHandle stream) { network_.preprocess(upload_.staged(), plan_, stream); });
  input_ready_.record(stream_);
  const cuda::StreamHandle beside = network_stream_->handle();
  cuda::Stream::wait_for(beside, input_ready_);
  run(Part::network, static_cast<std::uint32_t>(1 - logits_), beside,
      [&](cuda::StreamHandle stream) { network_.run(1 - logits_, stream); });
  network_ready_.record(beside);
}

MapViews DeviceStream::allocate(Result& result, Size size) {
  const auto take = [&](DeviceMap& map) {
    auto bytes = device_maps_.take(
        static_cast<std::size_t>(size.width) * static_cast<std::size_t>(size.height), stream_);
    const ImageView<std::uint8_t> view = {cuda::MapPool::writable(*bytes), size.width, size.height,
                                          size.width};
    map = DeviceMap(work_, std::move(bytes), size.width, size.height);
    return view;
  };
  MapViews views;
  views.labels = take(result.device_labels);
  if (confidence_) views.confidence = take(result.device_confidence);
  return views;
}

void DeviceStream::copy_to_host(Result& result) {
  if (device_labels_) return;
  const auto copy = [&](const DeviceMap& from, ByteMap& to) {
    if (from.empty()) return;
    to = host_maps_.take(from.width(), from.height());
    cuda::copy_bytes(BytePool::writable(to), from.data(), from.size(), stream_);
  };
  copy(result.device_labels, result.labels);
  copy(result.device_confidence, result.confidence);
}

// `breaks`: whether the stream cannot go on as it was, should the frame fail.
void DeviceStream::end(Result& result, bool breaks, bool waits) {
  clock_.mark(StageClock::sample_done, stream_);
  copy_to_host(result);
  work_->end();
  if (!waits) return;
  try {
    finish(result);
  } catch (const Error&) {
    in_flight_.forget_latest();
    if (breaks) policy_.restart();
    throw;
  }
  clock_.read(result.timing);
}

void DeviceStream::commit(const Frame& frame, const FrameInfo& info, const Result& result,
                          const Geometry& geometry) noexcept {
  if (result.is_key && !policy_.runs_behind(result.key_reason)) {
    policy_.commit_key();
    logits_ = 1 - logits_;
    shown().start();
  } else {
    shown().commit();
    if (policy_.is_pending()) pending().commit();
    policy_.commit_propagated(result.is_key);
    if (result.is_key) pending().start();
  }
  policy_.commit_frame(frame, info.timestamp);
  geometry_ = geometry;
  has_logits_ = true;
  past_ = 1 - past_;
  ++next_index_;
}

std::shared_ptr<void> DeviceStream::use_device() const {
  return std::make_shared<cuda::DeviceScope>(device_.device);
}

void DeviceStream::check_device(const void* memory, const std::string& name) const {
  const int found = cuda::device_of(memory);
  if (found >= 0 && found != device_.device) refuse_device(name, device_.device, found);
}

// Frames that were submitted before and are not enqueued yet wait, too: that is too much, and harmless.
void DeviceStream::order_after(void* producer) {
  const cuda::DeviceScope scope(device_.device);
  produced_.record(static_cast<cuda::StreamHandle>(producer));
  cuda::Stream::wait_for(stream_, produced_);
}

void DeviceStream::logits(std::vector<float>& out) {
  if (!policy_.is_started() || (!carries_ && !has_logits_)) {
    throw Error(
        ErrorCode::invalid_argument,
        policy_.is_started()
            ? "logits: expected the latest push to have succeeded, found a failure: push a frame"
            : "logits: expected a frame to have been pushed since the last reset or failure, found none");
  }
  const cuda::DeviceScope scope(device_.device);
  out.resize(network_.size());
  if (carries_ && shown().age() == 0) {
    network_.unpack(logits_, out.data(), stream_);
  } else if (carries_) {
    network_.carry(logits_, make_logits_geometry(geometry_), shown().flow(past_), out.data(), stream_);
  } else {
    network_.read_logits(out.data(), stream_);
  }
}

}  // namespace stpl_rt
