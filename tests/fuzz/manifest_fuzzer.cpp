// Any text as manifest.json, beside a network whose hash the corpus knows.
#include "accepted_bundle.h"
#include "scratch_folder.h"

using namespace stpl_rt::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const ScratchFolder folder;
  static const bool network_is_written = (write_file(folder.path() / "segment.onnx", "network"), true);
  (void)network_is_written;
  write_file(folder.path() / "manifest.json", std::string(reinterpret_cast<const char*>(data), size));
  if (const auto bundle = open_or_refuse(folder.path())) require_sound(*bundle);
  return 0;
}
