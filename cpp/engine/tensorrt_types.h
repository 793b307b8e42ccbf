// TensorRT's shapes and types in our words. For our own sources alone: it includes TensorRT's headers.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <string>
#include <vector>

namespace stpl_rt {

inline std::vector<std::int64_t> shape_of(const nvinfer1::Dims& dims) {
  return {dims.d, dims.d + (dims.nbDims > 0 ? dims.nbDims : 0)};
}

// As NumPy calls it, for the types that inputs and outputs may have.
inline std::string type_name(nvinfer1::DataType type) {
  if (type == nvinfer1::DataType::kFLOAT) return "float32";
  if (type == nvinfer1::DataType::kHALF) return "float16";
  return "type " + std::to_string(static_cast<int>(type));
}

}  // namespace stpl_rt
