// What Bundle::open may answer: a bundle in which everything holds that the header promises, or an error that
// names what is wrong.
#pragma once

#include <stpl_rt/bundle.h>
#include <stpl_rt/error.h>

#include <filesystem>
#include <optional>

namespace stpl_rt::fuzz {

// The bundle, or nothing where it was refused as one. Any other exception leaves, and ends the program.
std::optional<Bundle> open_or_refuse(const std::filesystem::path& directory);

// Sizes, class count, ids and the network's file are within what the runtime computes with.
void require_sound(const Bundle& bundle);

}  // namespace stpl_rt::fuzz
