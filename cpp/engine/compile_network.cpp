// What the engines have in common.
#include <stpl_rt/error.h>

#include <fstream>
#include <iterator>

#include "core/sha256.h"
#include "engine/device_name.h"
#include "engine/engine.h"
#include "engine/onnx_file.h"

namespace stpl_rt {

std::unique_ptr<DeviceEngine> CompiledNetwork::make_device_engine() const {
  throw Error(ErrorCode::unsupported,
              "expected a network that was compiled for a device \"cuda:N\", found one for the CPU");
}

std::shared_ptr<const CompiledNetwork> compile_network(const NetworkSpec& network, const std::string& device,
                                                       Precision precision, int threads,
                                                       const PlanOptions& plans) {
  const auto number = cuda_device(device);
  if (!number) return compile_for_cpu(network, precision, threads);
  return compile_for_device(network, *number, precision, plans);
}

std::string read_checked(const NetworkSpec& network) {
  const std::string name = network.file.filename().string();
  std::ifstream stream(network.file, std::ios::binary);
  std::string bytes(std::istreambuf_iterator<char>(stream), {});
  if (!stream) throw Error(ErrorCode::io, network.file.string() + ": cannot be read");
  const std::string hash = sha256({reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()});
  if (hash != network.sha256) {
    throw Error(ErrorCode::invalid_bundle, name + ": content: expected SHA-256 " + network.sha256 +
                                               " as the manifest says, found " + hash);
  }
  switch (weights_of(bytes)) {
    case Weights::inside:
      return bytes;
    case Weights::outside:
      throw Error(ErrorCode::invalid_bundle,
                  name + ": expected all weights inside the file, found ONNX external data");
    case Weights::unreadable:
      break;
  }
  throw Error(ErrorCode::invalid_bundle,
              name + ": expected an ONNX file, found bytes that cannot be read as one");
}

}  // namespace stpl_rt
