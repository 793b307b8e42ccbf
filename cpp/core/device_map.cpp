#include <stpl_rt/device_map.h>
#include <stpl_rt/error.h>

#include <string>
#include <utility>

#include "core/device_work.h"

namespace stpl_rt {
namespace {

// What `map` holds, for `call`; an empty one holds nothing.
template <class Held>
Held& held(const std::shared_ptr<Held>& map, const char* call) {
  if (map) return *map;
  throw Error(ErrorCode::invalid_argument,
              std::string("DeviceMap::") + call +
                  ": expected a map of a result on a GPU, found an empty one: make the Segmenter with "
                  "device_labels (and confidence, for confidence)");
}

}  // namespace

DeviceMap::DeviceMap(std::shared_ptr<const DeviceWork> work, std::shared_ptr<DeviceBytes> bytes, int width,
                     int height) noexcept
    : work_(std::move(work)), bytes_(std::move(bytes)), width_(width), height_(height) {}

const std::uint8_t* DeviceMap::data() const noexcept { return bytes_ ? bytes_->data() : nullptr; }
int DeviceMap::device() const { return held(work_, "device").device(); }
void* DeviceMap::stream() const { return held(work_, "stream").stream(); }
bool DeviceMap::is_ready() const { return held(work_, "is_ready").is_ready(); }
void DeviceMap::wait() const { held(work_, "wait").wait(); }
void DeviceMap::copy_to(std::uint8_t* host) const {
  DeviceBytes& bytes = held(bytes_, "copy_to");
  wait();
  bytes.copy_to(host, size());
}
void DeviceMap::precede(void* reader) const { held(work_, "precede").precede(reader); }
void DeviceMap::read_on(void* reader) const { held(bytes_, "read_on").read_on(reader); }

}  // namespace stpl_rt
