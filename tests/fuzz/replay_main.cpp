// Runs a fuzzer's corpus through it once: what compilers without libFuzzer can do.
// Run: fuzz_TARGET_replay FILE_OR_FOLDER...
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <vector>

namespace fs = std::filesystem;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

std::vector<fs::path> files_of(const fs::path& path) {
  if (!fs::is_directory(path)) return {path};
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(path)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

bool replay(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  const std::vector<char> read{std::istreambuf_iterator<char>(stream), {}};
  if (!stream) {
    std::fprintf(stderr, "%s: expected a readable file\n", path.c_str());
    return false;
  }
  // Of exactly the input's size, and named before it runs: a report says which input it is of.
  const std::unique_ptr<std::uint8_t[]> input(new std::uint8_t[read.size()]);
  std::copy(read.begin(), read.end(), input.get());
  std::printf("%s\n", path.c_str());
  std::fflush(stdout);
  (void)LLVMFuzzerTestOneInput(input.get(), read.size());
  return true;
}

}  // namespace

int main(int count, char** words) {
  int replayed = 0;
  for (int i = 1; i < count; ++i) {
    for (const fs::path& file : files_of(words[i])) {
      if (!replay(file)) return 2;
      ++replayed;
    }
  }
  if (replayed == 0) std::fprintf(stderr, "expected inputs to replay, found none\n");
  return replayed > 0 ? 0 : 2;
}
