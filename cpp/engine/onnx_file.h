// What must be known of an ONNX file before an engine may open it.
#pragma once

#include <string_view>

namespace stpl_rt {

// True where a tensor of the model keeps its data in another file. Engines would read that file, wherever it
// lies, and no hash vouches for it. Bytes that are not a protocol buffer are false: the engine refuses them.
bool has_external_data(std::string_view model);

}  // namespace stpl_rt
