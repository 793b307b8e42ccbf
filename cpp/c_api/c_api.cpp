#include <stpl_rt/c_api.h>
#include <stpl_rt/stpl_rt.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

struct stpl_network {
  const stpl_rt::NetworkSpec* spec;
};

struct stpl_bundle {
  explicit stpl_bundle(stpl_rt::Bundle opened)
      : bundle(std::move(opened)), schedule(bundle.default_schedule.to_string()) {
    networks.push_back({&bundle.segment});
    for (const auto* each : {&bundle.fuse, &bundle.update}) {
      if (*each) networks.push_back({&**each});
    }
  }
  stpl_bundle(const stpl_bundle&) = delete;
  stpl_bundle& operator=(const stpl_bundle&) = delete;

  const stpl_rt::Bundle bundle;
  const std::string schedule;
  std::vector<stpl_network> networks;  // of the bundle
};

struct stpl_segmenter {
  stpl_segmenter(const stpl_rt::Bundle& opened, const stpl_rt::SegmenterOptions& options)
      : bundle{opened}, segmenter(opened, options), schedule(segmenter.schedule().to_string()) {}

  const stpl_bundle bundle;
  stpl_rt::Segmenter segmenter;
  const std::string schedule;
};

struct stpl_result {
  stpl_rt::Result result;
};

namespace {

using stpl_rt::Error;
using stpl_rt::ErrorCode;

thread_local std::string last_error;

stpl_status status_of(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::invalid_argument:
      return STPL_INVALID_ARGUMENT;
    case ErrorCode::invalid_bundle:
      return STPL_INVALID_BUNDLE;
    case ErrorCode::io:
      return STPL_IO;
    case ErrorCode::unsupported:
      return STPL_UNSUPPORTED;
    case ErrorCode::in_use:
      return STPL_IN_USE;
    case ErrorCode::engine:
      return STPL_ENGINE;
    case ErrorCode::internal:
      break;
  }
  return STPL_INTERNAL;
}

stpl_status fail(stpl_status status, const char* what) noexcept {
  try {
    last_error = what;
  } catch (const std::bad_alloc&) {
    last_error.clear();
  }
  return status;
}

// No exception leaves the library.
template <class F>
stpl_status guarded(F&& body) noexcept {
  try {
    return body();
  } catch (const Error& error) {
    return fail(status_of(error.code()), error.what());
  } catch (const std::bad_alloc&) {
    return fail(STPL_INTERNAL, "out of memory");
  } catch (const std::exception& error) {
    return fail(STPL_INTERNAL, error.what());
  } catch (...) {
    return fail(STPL_INTERNAL, "an exception of unknown type");
  }
}

template <class T>
const T& required(const T* pointer, const char* name) {
  if (pointer != nullptr) return *pointer;
  throw Error(ErrorCode::invalid_argument, std::string(name) + ": expected a pointer, found NULL");
}
template <class T>
T& required(T* pointer, const char* name) {
  (void)required(static_cast<const T*>(pointer), name);
  return *pointer;
}

// C may put any number into an enum; C++ may not even read it as one.
template <class E>
unsigned number_of(const E& value) noexcept {
  static_assert(sizeof(E) == sizeof(unsigned));
  unsigned number = 0;
  std::memcpy(&number, &value, sizeof(number));
  return number;
}

// The numbers of both enums are the same; one that has no place in To must not come out as another.
template <class To, class From>
To to_enum(const From& value, To last, const char* name) {
  const unsigned number = number_of(value);
  if (number <= static_cast<unsigned>(last)) return static_cast<To>(number);
  throw Error(ErrorCode::invalid_argument, std::string(name) + ": expected 0 to " +
                                               std::to_string(static_cast<unsigned>(last)) + ", found " +
                                               std::to_string(number));
}

static_assert(static_cast<int>(stpl_rt::PixelFormat::rgb) == STPL_RGB &&
              static_cast<int>(stpl_rt::PixelFormat::bgr) == STPL_BGR &&
              static_cast<int>(stpl_rt::PixelFormat::gray) == STPL_GRAY &&
              static_cast<int>(stpl_rt::PixelFormat::nv12) == STPL_NV12 &&
              static_cast<int>(stpl_rt::PixelFormat::i420) == STPL_I420);
static_assert(static_cast<int>(stpl_rt::YuvEncoding::bt601) == STPL_BT601 &&
              static_cast<int>(stpl_rt::YuvEncoding::bt709) == STPL_BT709 &&
              static_cast<int>(stpl_rt::YuvEncoding::bt601_full) == STPL_BT601_FULL &&
              static_cast<int>(stpl_rt::YuvEncoding::bt709_full) == STPL_BT709_FULL);

static_assert(static_cast<int>(stpl_rt::FrameMemory::host) == STPL_HOST &&
              static_cast<int>(stpl_rt::FrameMemory::pinned) == STPL_PINNED &&
              static_cast<int>(stpl_rt::FrameMemory::device) == STPL_DEVICE);

stpl_rt::Frame to_frame(const stpl_frame& frame) {
  return {.data = frame.data,
          .width = frame.width,
          .height = frame.height,
          .stride = frame.stride,
          .format = to_enum(frame.format, stpl_rt::PixelFormat::i420, "frame: format"),
          .chroma = frame.chroma,
          .chroma_cr = frame.chroma_cr,
          .chroma_stride = frame.chroma_stride,
          .encoding = to_enum(frame.encoding, stpl_rt::YuvEncoding::bt709_full, "frame: encoding"),
          .memory = to_enum(frame.memory, stpl_rt::FrameMemory::device, "frame: memory")};
}

stpl_rt::FrameInfo to_info(const stpl_frame_info* info) {
  stpl_rt::FrameInfo out;
  if (info == nullptr) return out;
  if (info->has_timestamp != 0) out.timestamp = info->timestamp;
  if (info->flow != nullptr) {
    out.flow =
        stpl_rt::FlowView{.data = info->flow,
                          .width = info->flow_width,
                          .height = info->flow_height,
                          .stride = info->flow_stride,
                          .memory = to_enum(info->flow_memory, stpl_rt::FrameMemory::device, "flow_memory")};
  }
  return out;
}

static_assert(static_cast<int>(stpl_rt::ColorOrder::rgb) == STPL_ORDER_RGB &&
              static_cast<int>(stpl_rt::ColorOrder::bgr) == STPL_ORDER_BGR);
static_assert(static_cast<int>(stpl_rt::ResizeMode::stretch) == STPL_STRETCH &&
              static_cast<int>(stpl_rt::ResizeMode::letterbox) == STPL_LETTERBOX);
static_assert(static_cast<int>(stpl_rt::ResizeFilter::bilinear) == STPL_BILINEAR &&
              static_cast<int>(stpl_rt::ResizeFilter::area) == STPL_AREA);
static_assert(static_cast<int>(stpl_rt::Schedule::Kind::every) == STPL_SCHEDULE_EVERY &&
              static_cast<int>(stpl_rt::Schedule::Kind::fixed) == STPL_SCHEDULE_FIXED &&
              static_cast<int>(stpl_rt::Schedule::Kind::adaptive) == STPL_SCHEDULE_ADAPTIVE);

// The struct as STPL_C_API_VERSION 4 began with it. What is added must mean with 0 what was without it.
constexpr std::size_t kFirstOptions = offsetof(stpl_options, trust_engines) + sizeof(int);
// More is no size, but memory that nobody has set.
constexpr std::size_t kMostOptions = 4096;
static_assert(sizeof(stpl_options) == kFirstOptions, "padding at the end would hide a field that is added");

// The caller's options as far as the caller knows them, and the defaults for the rest.
stpl_options known_options(const stpl_options* given) {
  stpl_options options = stpl_default_options();
  if (given == nullptr) return options;
  const std::size_t size = given->struct_size;
  if (size < kFirstOptions || size > kMostOptions) {
    throw Error(ErrorCode::invalid_argument,
                "options: expected a struct_size from " + std::to_string(kFirstOptions) + " to " +
                    std::to_string(kMostOptions) + ", found " + std::to_string(size) +
                    "; begin with stpl_default_options()");
  }
  const auto* const bytes = reinterpret_cast<const unsigned char*>(given);
  if (size > sizeof(options) &&
      std::any_of(bytes + sizeof(options), bytes + size, [](auto b) { return b != 0; })) {
    throw Error(ErrorCode::unsupported, std::string("options: expected those of stpl_rt ") + STPL_RT_VERSION +
                                            ", found one set that is newer; use the library of the header");
  }
  std::memcpy(&options, given, std::min(size, sizeof(options)));
  return options;
}

stpl_rt::SegmenterOptions to_options(const stpl_options* given) {
  const stpl_options options = known_options(given);
  stpl_rt::SegmenterOptions out;
  if (options.device != nullptr) out.device = options.device;
  if (options.schedule != nullptr) out.schedule = stpl_rt::Schedule::parse(options.schedule);
  if (options.precision != nullptr) out.precision = stpl_rt::parse_precision(options.precision);
  out.threads = options.threads;
  out.confidence = options.confidence != 0;
  out.scene_cuts = options.scene_cuts != 0;
  out.flow_check = options.flow_check != 0;
  out.key_lag = options.key_lag;
  out.fuse = options.fuse != 0;
  out.update = options.update != 0;
  out.queue = options.queue;
  out.device_labels = options.device_labels != 0;
  out.cuda_stream = options.cuda_stream;
  out.build_engines = options.build_engines != 0;
  out.trust_engines = options.trust_engines != 0;
  return out;
}

template <class Map>
stpl_map to_map(const Map& map) {
  return {map.data(), map.width(), map.height()};
}

const stpl_rt::ClassInfo* find_class(const stpl_bundle* bundle, int class_id) {
  if (bundle == nullptr || class_id < 0) return nullptr;
  const auto index = static_cast<std::size_t>(class_id);
  return index < bundle->bundle.classes.size() ? &bundle->bundle.classes[index] : nullptr;
}

const stpl_rt::TensorSpec* find_tensor(const std::vector<stpl_rt::TensorSpec>& all, int index) {
  return index >= 0 && static_cast<std::size_t>(index) < all.size() ? &all[static_cast<std::size_t>(index)]
                                                                    : nullptr;
}
stpl_tensor to_tensor(const stpl_rt::TensorSpec* spec) {
  if (spec == nullptr) return {};
  return {spec->name.c_str(), spec->type.c_str(), spec->shape.data(), static_cast<int>(spec->shape.size())};
}
const stpl_rt::PlanSpec* find_plan(const stpl_network* network, int index) {
  if (network == nullptr || index < 0) return nullptr;
  const auto& plans = network->spec->plans;
  return static_cast<std::size_t>(index) < plans.size() ? &plans[static_cast<std::size_t>(index)] : nullptr;
}

// Of a result, from the host's memory or the GPU's.
stpl_status copy_map(const char* name, const stpl_rt::ByteMap& host, const stpl_rt::DeviceMap& device,
                     std::uint8_t* out, std::size_t count) {
  (void)required(out, "out");
  if (host.empty() && device.empty()) {
    throw Error(ErrorCode::invalid_argument, std::string(name) + ": expected a result with it, found none");
  }
  const std::size_t size = std::max(host.size(), device.size());
  if (count < size) {
    throw Error(ErrorCode::invalid_argument, std::string(name) + ": expected room for " +
                                                 std::to_string(size) + " bytes, found " +
                                                 std::to_string(count));
  }
  if (host.empty()) {
    device.copy_to(out);
  } else {
    std::copy_n(host.data(), size, out);
  }
  return STPL_OK;
}

// Called once with the last reference, whatever becomes of the frame.
std::shared_ptr<const void> make_owner(void (*release)(void*), void* context) {
  if (release == nullptr) return nullptr;
  static const char pixels = 0;  // an owner must not be null; what it points at is never read
  return {static_cast<const void*>(&pixels), [release, context](const void*) { release(context); }};
}

// No patience: as long as it takes.
stpl_status submit(stpl_segmenter* segmenter, const stpl_frame* frame, const stpl_frame_info* info,
                   void (*release)(void*), void* context,
                   std::optional<std::chrono::milliseconds> patience) noexcept {
  return guarded([&] {
    const std::shared_ptr<const void> owner = make_owner(release, context);
    stpl_rt::Segmenter& to = required(segmenter, "segmenter").segmenter;
    const stpl_rt::Frame pixels = to_frame(required(frame, "frame"));
    if (!patience) {
      to.submit(pixels, to_info(info), owner);
    } else if (!to.try_submit(pixels, to_info(info), owner, *patience)) {
      return fail(STPL_QUEUE_FULL, "submit: the queue is full; collect results first");
    }
    return STPL_OK;
  });
}

}  // namespace

extern "C" {

const char* stpl_last_error(void) { return last_error.c_str(); }

const char* stpl_status_name(stpl_status status) {
  switch (number_of(status)) {
    case STPL_OK:
      return "ok";
    case STPL_INVALID_ARGUMENT:
      return "invalid_argument";
    case STPL_INVALID_BUNDLE:
      return "invalid_bundle";
    case STPL_IO:
      return "io";
    case STPL_UNSUPPORTED:
      return "unsupported";
    case STPL_IN_USE:
      return "in_use";
    case STPL_ENGINE:
      return "engine";
    case STPL_INTERNAL:
      return "internal";
    case STPL_QUEUE_FULL:
      return "queue_full";
  }
  return "unknown";
}

const char* stpl_version(void) { return STPL_RT_VERSION; }
int stpl_c_api_version(void) { return STPL_C_API_VERSION; }

stpl_frame stpl_rgb_frame(const uint8_t* data, int width, int height) {
  stpl_frame frame = {};
  frame.data = data;
  frame.width = width;
  frame.height = height;
  return frame;
}

stpl_status stpl_bundle_open(const char* directory, stpl_bundle** out) {
  return guarded([&] {
    stpl_bundle*& place = required(out, "out");
    place = new stpl_bundle{stpl_rt::Bundle::open(&required(directory, "directory"))};
    return STPL_OK;
  });
}
void stpl_bundle_free(stpl_bundle* bundle) { delete bundle; }
const char* stpl_bundle_name(const stpl_bundle* bundle) {
  return bundle != nullptr ? bundle->bundle.name.c_str() : nullptr;
}
int stpl_bundle_classes(const stpl_bundle* bundle) {
  return bundle != nullptr ? static_cast<int>(bundle->bundle.classes.size()) : 0;
}
const char* stpl_bundle_class_name(const stpl_bundle* bundle, int class_id) {
  const stpl_rt::ClassInfo* const found = find_class(bundle, class_id);
  return found != nullptr ? found->name.c_str() : nullptr;
}
stpl_status stpl_bundle_class_color(const stpl_bundle* bundle, int class_id, uint8_t rgb[3]) {
  return guarded([&] {
    (void)required(bundle, "bundle");
    (void)required(rgb, "rgb");
    const stpl_rt::ClassInfo* const found = find_class(bundle, class_id);
    if (found == nullptr) {
      throw Error(ErrorCode::invalid_argument, "class: expected 0 to " +
                                                   std::to_string(stpl_bundle_classes(bundle) - 1) +
                                                   ", found " + std::to_string(class_id));
    }
    std::copy_n(found->color.begin(), 3, rgb);
    return STPL_OK;
  });
}
const char* stpl_bundle_directory(const stpl_bundle* bundle) {
  return bundle != nullptr ? bundle->bundle.directory.c_str() : nullptr;
}
int stpl_bundle_schema_version(const stpl_bundle* bundle) {
  return bundle != nullptr ? bundle->bundle.schema_version : 0;
}
stpl_color_order stpl_bundle_input_color_order(const stpl_bundle* bundle) {
  return bundle != nullptr ? static_cast<stpl_color_order>(bundle->bundle.input.color_order) : STPL_ORDER_RGB;
}
const float* stpl_bundle_input_mean(const stpl_bundle* bundle) {
  return bundle != nullptr ? bundle->bundle.input.mean.data() : nullptr;
}
const float* stpl_bundle_input_std(const stpl_bundle* bundle) {
  return bundle != nullptr ? bundle->bundle.input.std.data() : nullptr;
}
const uint8_t* stpl_bundle_input_lut(const stpl_bundle* bundle) {
  return bundle != nullptr && bundle->bundle.input.lut ? bundle->bundle.input.lut->front().data() : nullptr;
}
stpl_resize_mode stpl_bundle_input_resize(const stpl_bundle* bundle) {
  return bundle != nullptr ? static_cast<stpl_resize_mode>(bundle->bundle.input.resize) : STPL_STRETCH;
}
stpl_resize_filter stpl_bundle_input_filter(const stpl_bundle* bundle) {
  return bundle != nullptr ? static_cast<stpl_resize_filter>(bundle->bundle.input.filter) : STPL_BILINEAR;
}
int stpl_bundle_input_width(const stpl_bundle* bundle) {
  return bundle != nullptr ? bundle->bundle.input.width : 0;
}
int stpl_bundle_input_height(const stpl_bundle* bundle) {
  return bundle != nullptr ? bundle->bundle.input.height : 0;
}
int stpl_bundle_logits_width(const stpl_bundle* bundle) {
  return bundle != nullptr ? bundle->bundle.logits.width : 0;
}
int stpl_bundle_logits_height(const stpl_bundle* bundle) {
  return bundle != nullptr ? bundle->bundle.logits.height : 0;
}
int stpl_bundle_align_corners(const stpl_bundle* bundle) {
  return bundle != nullptr && bundle->bundle.logits.align_corners ? 1 : 0;
}
int stpl_bundle_has_fuse(const stpl_bundle* bundle) {
  return bundle != nullptr && bundle->bundle.fuse ? 1 : 0;
}
int stpl_bundle_has_update(const stpl_bundle* bundle) {
  return bundle != nullptr && bundle->bundle.update ? 1 : 0;
}
int stpl_bundle_ignore_id(const stpl_bundle* bundle) {
  return bundle != nullptr ? bundle->bundle.ignore_id : 255;
}
const char* stpl_bundle_default_schedule(const stpl_bundle* bundle) {
  return bundle != nullptr ? bundle->schedule.c_str() : nullptr;
}
const char* stpl_bundle_provenance(const stpl_bundle* bundle) {
  return bundle != nullptr ? bundle->bundle.provenance_json.c_str() : nullptr;
}

const stpl_network* stpl_bundle_network(const stpl_bundle* bundle, const char* name) {
  if (bundle == nullptr || name == nullptr) return nullptr;
  const auto found = std::ranges::find_if(
      bundle->networks, [&](const stpl_network& each) { return each.spec->name == std::string_view(name); });
  return found != bundle->networks.end() ? &*found : nullptr;
}
const char* stpl_network_file(const stpl_network* network) {
  return network != nullptr ? network->spec->file.c_str() : nullptr;
}
const char* stpl_network_sha256(const stpl_network* network) {
  return network != nullptr ? network->spec->sha256.c_str() : nullptr;
}
int stpl_network_inputs(const stpl_network* network) {
  return network != nullptr ? static_cast<int>(network->spec->inputs.size()) : 0;
}
int stpl_network_outputs(const stpl_network* network) {
  return network != nullptr ? static_cast<int>(network->spec->outputs.size()) : 0;
}
stpl_tensor stpl_network_input(const stpl_network* network, int index) {
  return network != nullptr ? to_tensor(find_tensor(network->spec->inputs, index)) : stpl_tensor{};
}
stpl_tensor stpl_network_output(const stpl_network* network, int index) {
  return network != nullptr ? to_tensor(find_tensor(network->spec->outputs, index)) : stpl_tensor{};
}
int stpl_network_plans(const stpl_network* network) {
  return network != nullptr ? static_cast<int>(network->spec->plans.size()) : 0;
}
const char* stpl_network_plan_file(const stpl_network* network, int index) {
  const stpl_rt::PlanSpec* const found = find_plan(network, index);
  return found != nullptr ? found->file.c_str() : nullptr;
}
const char* stpl_network_plan_sha256(const stpl_network* network, int index) {
  const stpl_rt::PlanSpec* const found = find_plan(network, index);
  return found != nullptr ? found->sha256.c_str() : nullptr;
}

stpl_status stpl_schedule_parse(const char* text, stpl_schedule* out) {
  return guarded([&] {
    stpl_schedule& place = required(out, "out");
    const stpl_rt::Schedule schedule = stpl_rt::Schedule::parse(&required(text, "text"));
    place = {static_cast<stpl_schedule_kind>(schedule.kind()), schedule.interval(), schedule.drift()};
    return STPL_OK;
  });
}

void stpl_options_init(stpl_options* given, size_t struct_size) {
  if (given == nullptr) return;
  const stpl_rt::SegmenterOptions defaults;
  stpl_options options = {};
  options.struct_size = struct_size;
  options.device = "cpu";
  options.precision = "f32";
  options.threads = defaults.threads;
  options.confidence = defaults.confidence ? 1 : 0;
  options.scene_cuts = defaults.scene_cuts ? 1 : 0;
  options.flow_check = defaults.flow_check ? 1 : 0;
  options.key_lag = defaults.key_lag;
  options.fuse = defaults.fuse ? 1 : 0;
  options.update = defaults.update ? 1 : 0;
  options.queue = defaults.queue;
  options.device_labels = defaults.device_labels ? 1 : 0;
  options.cuda_stream = defaults.cuda_stream;
  options.build_engines = defaults.build_engines ? 1 : 0;
  options.trust_engines = defaults.trust_engines ? 1 : 0;
  auto* const bytes = reinterpret_cast<unsigned char*>(given);
  const std::size_t known = std::min(struct_size, sizeof(options));
  std::memcpy(bytes, &options, known);
  std::memset(bytes + known, 0, struct_size - known);
}

stpl_status stpl_segmenter_open(const char* bundle_directory, const stpl_options* options,
                                stpl_segmenter** out) {
  return guarded([&] {
    stpl_segmenter*& place = required(out, "out");
    const stpl_rt::SegmenterOptions chosen = to_options(options);
    place =
        new stpl_segmenter(stpl_rt::Bundle::open(&required(bundle_directory, "bundle_directory")), chosen);
    return STPL_OK;
  });
}
stpl_status stpl_segmenter_create(const stpl_bundle* bundle, const stpl_options* options,
                                  stpl_segmenter** out) {
  return guarded([&] {
    stpl_segmenter*& place = required(out, "out");
    place = new stpl_segmenter(required(bundle, "bundle").bundle, to_options(options));
    return STPL_OK;
  });
}
void stpl_segmenter_free(stpl_segmenter* segmenter) { delete segmenter; }
const stpl_bundle* stpl_segmenter_bundle(const stpl_segmenter* segmenter) {
  return segmenter != nullptr ? &segmenter->bundle : nullptr;
}
int stpl_segmenter_queue(const stpl_segmenter* segmenter) {
  return segmenter != nullptr ? segmenter->segmenter.queue() : 0;
}
void* stpl_segmenter_cuda_stream(const stpl_segmenter* segmenter) {
  return segmenter != nullptr ? segmenter->segmenter.cuda_stream() : nullptr;
}
stpl_status stpl_segmenter_order_after(stpl_segmenter* segmenter, void* producer) {
  return guarded([&] {
    required(segmenter, "segmenter").segmenter.order_after(producer);
    return STPL_OK;
  });
}
int stpl_segmenter_threads(const stpl_segmenter* segmenter) {
  return segmenter != nullptr ? segmenter->segmenter.threads() : 0;
}
const char* stpl_segmenter_schedule(const stpl_segmenter* segmenter) {
  return segmenter != nullptr ? segmenter->schedule.c_str() : nullptr;
}

stpl_status stpl_segmenter_push(stpl_segmenter* segmenter, const stpl_frame* frame,
                                const stpl_frame_info* info, stpl_result** out) {
  return guarded([&] {
    stpl_result*& place = required(out, "out");
    stpl_rt::Segmenter& to = required(segmenter, "segmenter").segmenter;
    auto result = std::make_unique<stpl_result>();  // before the frame: nothing may fail after it
    result->result = to.push(to_frame(required(frame, "frame")), to_info(info));
    place = result.release();
    return STPL_OK;
  });
}
stpl_status stpl_segmenter_reset(stpl_segmenter* segmenter) {
  return guarded([&] {
    required(segmenter, "segmenter").segmenter.reset();
    return STPL_OK;
  });
}
stpl_status stpl_segmenter_submit(stpl_segmenter* segmenter, const stpl_frame* frame,
                                  const stpl_frame_info* info, void (*release)(void*), void* context) {
  return submit(segmenter, frame, info, release, context, std::nullopt);
}
stpl_status stpl_segmenter_try_submit(stpl_segmenter* segmenter, const stpl_frame* frame,
                                      const stpl_frame_info* info, void (*release)(void*), void* context) {
  return submit(segmenter, frame, info, release, context, std::chrono::milliseconds(0));
}
stpl_status stpl_segmenter_try_submit_for(stpl_segmenter* segmenter, const stpl_frame* frame,
                                          const stpl_frame_info* info, void (*release)(void*), void* context,
                                          int64_t patience_ms) {
  return submit(segmenter, frame, info, release, context, std::chrono::milliseconds(patience_ms));
}
stpl_status stpl_segmenter_collect(stpl_segmenter* segmenter, stpl_result** out) {
  return guarded([&] {
    stpl_result*& place = required(out, "out");
    auto result = std::make_unique<stpl_result>();
    result->result = required(segmenter, "segmenter").segmenter.collect();
    place = result.release();
    return STPL_OK;
  });
}
stpl_status stpl_segmenter_wait(stpl_segmenter* segmenter) {
  return guarded([&] {
    required(segmenter, "segmenter").segmenter.wait();
    return STPL_OK;
  });
}
size_t stpl_segmenter_pending(const stpl_segmenter* segmenter) {
  return segmenter != nullptr ? segmenter->segmenter.pending() : 0;
}
stpl_status stpl_segmenter_logits(stpl_segmenter* segmenter, float* out, size_t count) {
  return guarded([&] {
    (void)required(out, "out");
    std::vector<float> logits;  // of this call: the next thread may already be inside
    required(segmenter, "segmenter").segmenter.logits(logits);
    if (count < logits.size()) {
      throw Error(ErrorCode::invalid_argument, "logits: expected room for " + std::to_string(logits.size()) +
                                                   " values, found " + std::to_string(count));
    }
    std::copy(logits.begin(), logits.end(), out);
    return STPL_OK;
  });
}

const char* stpl_key_reason_name(stpl_key_reason reason) {
  switch (number_of(reason)) {
    case STPL_KEY_NONE:
      return "none";
    case STPL_KEY_FIRST:
      return "first";
    case STPL_KEY_SCHEDULE:
      return "schedule";
    case STPL_KEY_DRIFT:
      return "drift";
    case STPL_KEY_SCENE_CUT:
      return "scene_cut";
    case STPL_KEY_GAP:
      return "gap";
    case STPL_KEY_SIZE_CHANGE:
      return "size_change";
  }
  return "unknown";
}
void stpl_result_free(stpl_result* result) { delete result; }
stpl_status stpl_result_share(const stpl_result* result, stpl_result** out) {
  return guarded([&] {
    stpl_result*& place = required(out, "out");
    place = new stpl_result(required(result, "result"));
    return STPL_OK;
  });
}
stpl_map stpl_result_labels(const stpl_result* result) {
  return result != nullptr ? to_map(result->result.labels) : stpl_map{};
}
stpl_map stpl_result_confidence(const stpl_result* result) {
  return result != nullptr ? to_map(result->result.confidence) : stpl_map{};
}
stpl_map stpl_result_device_labels(const stpl_result* result) {
  return result != nullptr ? to_map(result->result.device_labels) : stpl_map{};
}
stpl_map stpl_result_device_confidence(const stpl_result* result) {
  return result != nullptr ? to_map(result->result.device_confidence) : stpl_map{};
}
stpl_status stpl_result_wait(const stpl_result* result) {
  return guarded([&] {
    const stpl_rt::DeviceMap& labels = required(result, "result").result.device_labels;
    if (!labels.empty()) labels.wait();
    return STPL_OK;
  });
}
stpl_status stpl_result_read_on(const stpl_result* result, void* reader) {
  return guarded([&] {
    const stpl_rt::Result& of = required(result, "result").result;
    for (const stpl_rt::DeviceMap* map : {&of.device_labels, &of.device_confidence}) {
      if (map->empty()) continue;
      map->precede(reader);
      map->read_on(reader);
    }
    return STPL_OK;
  });
}
stpl_status stpl_result_precede(const stpl_result* result, void* reader) {
  return guarded([&] {
    const stpl_rt::Result& of = required(result, "result").result;
    for (const stpl_rt::DeviceMap* map : {&of.device_labels, &of.device_confidence}) {
      if (!map->empty()) map->precede(reader);
    }
    return STPL_OK;
  });
}
stpl_status stpl_result_is_ready(const stpl_result* result, int* out) {
  return guarded([&] {
    int& place = required(out, "out");
    const stpl_rt::DeviceMap& labels = required(result, "result").result.device_labels;
    place = labels.empty() || labels.is_ready() ? 1 : 0;
    return STPL_OK;
  });
}
int stpl_result_device(const stpl_result* result) {
  const bool has_labels = result != nullptr && !result->result.device_labels.empty();
  return has_labels ? result->result.device_labels.device() : -1;
}
void* stpl_result_stream(const stpl_result* result) {
  const bool has_labels = result != nullptr && !result->result.device_labels.empty();
  return has_labels ? result->result.device_labels.stream() : nullptr;
}
stpl_status stpl_result_copy_labels(const stpl_result* result, uint8_t* out, size_t count) {
  return guarded([&] {
    const stpl_rt::Result& of = required(result, "result").result;
    return copy_map("labels", of.labels, of.device_labels, out, count);
  });
}
stpl_status stpl_result_copy_confidence(const stpl_result* result, uint8_t* out, size_t count) {
  return guarded([&] {
    const stpl_rt::Result& of = required(result, "result").result;
    return copy_map("confidence", of.confidence, of.device_confidence, out, count);
  });
}
int stpl_result_is_key(const stpl_result* result) { return result != nullptr && result->result.is_key; }
stpl_key_reason stpl_result_key_reason(const stpl_result* result) {
  if (result == nullptr) return STPL_KEY_NONE;
  switch (result->result.key_reason) {
    case stpl_rt::KeyReason::first:
      return STPL_KEY_FIRST;
    case stpl_rt::KeyReason::schedule:
      return STPL_KEY_SCHEDULE;
    case stpl_rt::KeyReason::drift:
      return STPL_KEY_DRIFT;
    case stpl_rt::KeyReason::scene_cut:
      return STPL_KEY_SCENE_CUT;
    case stpl_rt::KeyReason::gap:
      return STPL_KEY_GAP;
    case stpl_rt::KeyReason::size_change:
      return STPL_KEY_SIZE_CHANGE;
    case stpl_rt::KeyReason::none:
      break;
  }
  return STPL_KEY_NONE;
}
int stpl_result_age(const stpl_result* result) { return result != nullptr ? result->result.age : 0; }
double stpl_result_drift(const stpl_result* result) { return result != nullptr ? result->result.drift : 0; }
uint64_t stpl_result_frame_index(const stpl_result* result) {
  return result != nullptr ? result->result.frame_index : 0;
}
stpl_timing stpl_result_timing(const stpl_result* result) {
  if (result == nullptr) return {};
  const stpl_rt::Timing& t = result->result.timing;
  return {t.preprocess_ms, t.flow_ms, t.network_ms, t.sample_ms, t.total_ms};
}

}  // extern "C"
