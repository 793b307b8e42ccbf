#include "flow/device_flow_cuda.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "core/cuda/device.h"
#include "core/cuda/memory.h"
#include "core/cuda/pinned_staging.h"
#include "core/cuda/stream.h"
#include "flow/dis_cuda.h"

namespace stpl_rt {
namespace {

class CudaFlow final : public DeviceFlow {
 public:
  CudaFlow(const DisOptions& options, int device) : device_(device), flow_(options) {}

  void compute(ImageView<const std::uint8_t> current, ImageView<const std::uint8_t> past,
               FlowField& out) override {
    const cuda::DeviceScope scope(device_);
    prepare(current.size());
    upload(current, levels_[0]);
    upload(past, levels_[1]);
    flow_.compute(levels_[0], levels_[1], field_.planes(), stream_.handle());
    download(out);
  }

 private:
  void prepare(Size size) {
    flow_.prepare(size);
    for (cuda::Pyramid& levels : levels_) levels.prepare(flow_.layout(size));
    image_.resize(size.width, size.height);
    field_.resize(size.width, size.height);
  }

  // Both images go through the same memory of the device, one after the other.
  void upload(ImageView<const std::uint8_t> image, cuda::Pyramid& levels) {
    const ImageView<std::uint8_t> to = image_.view();
    const std::size_t bytes = static_cast<std::size_t>(to.stride) * to.height;
    auto* const staged = reinterpret_cast<std::uint8_t*>(staging_.fill(bytes));
    for (int y = 0; y < image.height; ++y) std::copy_n(image.row(y), image.width, staged + y * to.stride);
    staging_.send(to.data, bytes, stream_.handle());
    levels.build(image_.cview(), stream_.handle());
  }

  void download(FlowField& out) {
    const std::array planes = {field_.planes().dx, field_.planes().dy};
    const Size size = planes[0].size();
    const std::size_t count = static_cast<std::size_t>(planes[0].stride) * size.height;
    found_.reserve(2 * count);
    for (std::size_t plane = 0; plane < planes.size(); ++plane) {
      cuda::copy(found_.data() + plane * count, planes[plane].data, count, stream_.handle());
    }
    stream_.wait();
    out.resize(size.width, size.height);
    for (int y = 0; y < size.height; ++y) {
      const float* const row = found_.data() + y * planes[0].stride;
      std::copy_n(row, size.width, out.dx.row(y));
      std::copy_n(row + count, size.width, out.dy.row(y));
    }
  }

  int device_;
  cuda::Stream stream_;
  cuda::DisFlow flow_;
  std::array<cuda::Pyramid, 2> levels_;
  cuda::DeviceImage<std::uint8_t> image_;
  cuda::DeviceFlow field_;
  cuda::PinnedStaging staging_;
  cuda::PinnedBuffer<float> found_;
};

}  // namespace

std::unique_ptr<DeviceFlow> make_device_flow(const DisOptions& options, int device) {
  const cuda::DeviceScope scope(device);
  return std::make_unique<CudaFlow>(options, device);
}

}  // namespace stpl_rt
