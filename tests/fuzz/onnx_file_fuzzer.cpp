// Any bytes as an ONNX file, in memory of exactly their size.
#include <algorithm>
#include <cstdint>
#include <memory>

#include "engine/onnx_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::unique_ptr<char[]> file(new char[size]);
  std::copy_n(data, size, file.get());
  (void)stpl_rt::has_external_data({file.get(), size});
  return 0;
}
