// Any bytes as a Y4M video. Each frame that is read has the header's size, and all its pixels are there.
#include <cstdint>
#include <sstream>

#include "cli/arguments.h"
#include "cli/y4m.h"
#include "ops/frame_copy.h"
#include "requirement.h"

using namespace stpl_rt::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::istringstream stream(std::string(reinterpret_cast<const char*>(data), size));
  try {
    stpl_rt::cli::Y4mReader reader(stream, "video");
    stpl_rt::AlignedBuffer<std::uint8_t> memory;
    while (reader.next()) {
      const stpl_rt::Frame frame = reader.frame();
      require(frame.width == reader.header().width, "the header's width");
      require(frame.height == reader.header().height, "the header's height");
      (void)stpl_rt::copy_frame(frame, memory);
    }
  } catch (const stpl_rt::cli::UserError& error) {
    const std::string message = error.what();
    require(message.find("expected") != std::string::npos, "\"expected ...\" in: " + message);
  }
  return 0;
}
