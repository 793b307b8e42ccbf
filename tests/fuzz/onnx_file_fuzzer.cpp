// Any bytes as an ONNX file, in memory of exactly their size; and before a tensor whose data lies elsewhere,
// which nothing that stands before it may hide.
#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "engine/onnx_file.h"
#include "requirement.h"

namespace {

using stpl_rt::Weights;

// A field of protocol buffers that holds bytes. Numbers below 16 have a key of one byte.
std::string field(int number, std::string_view content) {
  std::string made(1, static_cast<char>(number << 3 | 2));
  std::size_t length = content.size();
  for (; length >= 0x80; length >>= 7) made += static_cast<char>((length & 0x7F) | 0x80);
  made += static_cast<char>(length);
  return made.append(content);
}

constexpr int kGraph = 7;
constexpr int kInitializer = 5;

// A model with these bytes as its tensor (depth 2), as its graph (1) or as itself (0).
std::string model_of(std::string_view bytes, int depth) {
  if (depth == 0) return std::string(bytes);
  return field(kGraph, depth == 1 ? bytes : field(kInitializer, bytes));
}

// The same with `tensor` behind them.
std::string model_with(std::string_view front, int depth, std::string_view tensor) {
  const auto at = [&](int here) { return std::string(depth == here ? front : std::string_view{}); };
  const std::string initializer = field(kInitializer, at(2).append(tensor));
  return at(0).append(field(kGraph, at(1).append(initializer)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::unique_ptr<char[]> file(new char[size]);
  std::copy_n(data, size, file.get());
  const std::string_view bytes{file.get(), size};
  (void)stpl_rt::weights_of(bytes);
  constexpr std::array<char, 2> kDataLocationExternal = {14 << 3, 1};
  for (int depth = 0; depth < 3; ++depth) {
    // Alone: bytes that end within a field would take what follows for the rest of it, rightly.
    if (stpl_rt::weights_of(model_of(bytes, depth)) != Weights::inside) continue;
    const std::string_view elsewhere{kDataLocationExternal.data(), kDataLocationExternal.size()};
    stpl_rt::fuzz::require(
        stpl_rt::weights_of(model_with(bytes, depth, elsewhere)) == Weights::outside,
        "external data to be seen behind bytes that were read through, at depth " + std::to_string(depth));
  }
  return 0;
}
