#include "accepted_bundle.h"

#include <cmath>
#include <string>

#include "core/sha256.h"
#include "requirement.h"

namespace stpl_rt::fuzz {

std::optional<Bundle> open_or_refuse(const std::filesystem::path& directory) {
  try {
    return Bundle::open(directory);
  } catch (const Error& error) {
    require(error.code() == ErrorCode::invalid_bundle,
            "a refused bundle to be an invalid_bundle, found: " + std::string(error.what()));
    const std::string message = error.what();
    require(message.find("expected") != std::string::npos, "\"expected ...\" in: " + message);
    require(message.size() < 2000,
            "a message that can be read, found one of " + std::to_string(message.size()));
    for (const char c : message) require(c >= 0x20 && c < 0x7F, "printable ASCII in: " + message);
    return std::nullopt;
  }
}

void require_sound(const Bundle& bundle) {
  const auto is_side = [](int side) { return side >= 1 && side <= 16384; };
  const auto classes = static_cast<std::int64_t>(bundle.classes.size());
  require(classes >= 1 && classes <= 255, "1 to 255 classes");
  require(bundle.ignore_id >= classes && bundle.ignore_id <= 255, "an ignore id above the classes");
  require(is_side(bundle.input.width) && is_side(bundle.input.height), "an input size of 1 to 16384");
  require(is_side(bundle.logits.width) && is_side(bundle.logits.height), "a logits size of 1 to 16384");
  for (std::size_t channel = 0; channel < 3; ++channel) {
    require(std::isfinite(bundle.input.mean[channel]), "finite means");
    require(bundle.input.std[channel] > 0 && std::isfinite(bundle.input.std[channel]), "std above 0");
  }
  require(bundle.default_schedule.interval() >= 1, "a schedule of at least one frame");
  const std::vector<std::int64_t> input = {1, 3, bundle.input.height, bundle.input.width};
  const std::vector<std::int64_t> logits = {1, classes, bundle.logits.height, bundle.logits.width};
  require(bundle.segment.inputs.at(0).shape == input, "the input's shape");
  require(bundle.segment.outputs.at(0).shape == logits, "the logits' shape");
  const std::filesystem::path& file = bundle.segment.file;
  require(file == std::filesystem::canonical(file), "the network's file without links");
  require(file.string().starts_with(bundle.directory.string() + "/"), "the network's file inside the bundle");
  require(std::filesystem::is_regular_file(file), "the network to be a regular file");
  require(sha256_file(file) == bundle.segment.sha256, "the network's hash to be its file's");
}

}  // namespace stpl_rt::fuzz
