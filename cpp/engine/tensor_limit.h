// What a network may ask for.
#pragma once

#include <openvino/core/model.hpp>
#include <optional>
#include <string>

namespace stpl_rt {

// A tensor of the network, subgraphs included, of more than 4 GiB, in words: its node and its shape. A file
// of a few hundred bytes can describe one, and an engine would allocate it, constants already to compile
// them. Nothing where there is none, as far as shapes are known before the network runs.
std::optional<std::string> find_giant_tensor(const ov::Model& model);

}  // namespace stpl_rt
