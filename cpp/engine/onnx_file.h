// What must be known of an ONNX file before an engine may open it.
#pragma once

#include <string>
#include <string_view>

namespace stpl_rt {

// Where the model keeps its tensors' data. Engines would read another file, wherever it lies, and no hash
// vouches for it: only what was looked through to its end and has none is `inside`.
enum class Weights { inside, outside, unreadable };
Weights weights_of(std::string_view model);

// The lowest precision that the network's layers are stored in: "fp32", "fp16", "bf16" or "int8". Engines
// that read types from the file compute in it.
std::string stored_precision(std::string_view model);

// Whether a node of the network is this operator ("GridSample").
bool has_operator(std::string_view model, std::string_view name);

}  // namespace stpl_rt
