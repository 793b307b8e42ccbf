// SHA-256 (FIPS 180-4), for the hashes in a bundle's manifest.
#pragma once

#include <filesystem>
#include <span>
#include <string>

namespace stpl_rt {

// Lower-case hexadecimal digest.
std::string sha256(std::span<const unsigned char> bytes);
// The digest of a file's content; throws Error(io) if it cannot be read.
std::string sha256_file(const std::filesystem::path& path);

}  // namespace stpl_rt
