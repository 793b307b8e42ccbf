// What must be known of an ONNX file before an engine may open it.
#pragma once

#include <string>
#include <string_view>

namespace stpl_rt {

// True where a tensor of the model keeps its data in another file. Engines would read that file, wherever it
// lies, and no hash vouches for it. Bytes that are not a protocol buffer are false: the engine refuses them.
bool has_external_data(std::string_view model);

// The lowest precision that the network's layers are stored in: "fp32", "fp16", "bf16" or "int8". Engines
// that read types from the file compute in it.
std::string stored_precision(std::string_view model);

// Whether a node of the network is this operator ("GridSample").
bool has_operator(std::string_view model, std::string_view name);

}  // namespace stpl_rt
