// The cache of plans as stpl_rt sees it, for the tests of the exporter, which shares it and is written in
// Python.
//
//   stpl_rt_plan_tool folder
//   stpl_rt_plan_tool precision NETWORK.onnx
//   stpl_rt_plan_tool target LIBRARY GPU CAPABILITY
//   stpl_rt_plan_tool find FOLDER BUNDLE NETWORK LIBRARY VERSION GPU CAPABILITY PRECISION    the file, or (3)
//   the reasons stpl_rt_plan_tool write PLAN FOLDER BUNDLE NETWORK LIBRARY VERSION GPU CAPABILITY PRECISION
//   as if just built
#include <stpl_rt/bundle.h>

#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/onnx_file.h"
#include "engine/plan_cache.h"

namespace {

using Words = std::vector<std::string>;

constexpr int kNone = 3;

std::string read(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw std::runtime_error(file + ": cannot be read");
  return {std::istreambuf_iterator<char>(stream), {}};
}

stpl_rt::PlanDevice device(const std::string& name, const std::string& capability) {
  return {.name = name, .compute_capability = std::stoi(capability)};
}

// Of BUNDLE NETWORK LIBRARY VERSION GPU CAPABILITY PRECISION from `first` on.
stpl_rt::PlanRequest request(const Words& words, std::size_t first) {
  const stpl_rt::Bundle bundle = stpl_rt::Bundle::open(words.at(first));
  const std::string& name = words.at(first + 1);
  return {.library = words.at(first + 2),
          .library_version = words.at(first + 3),
          .device = device(words.at(first + 4), words.at(first + 5)),
          .network = name == "fuse"     ? bundle.fuse.value()
                     : name == "update" ? bundle.update.value()
                                        : bundle.segment,
          .precision = words.at(first + 6)};
}

int find(const Words& words) {
  const stpl_rt::PlanSearch found = stpl_rt::find_plan(words.at(1), request(words, 2));
  for (const std::string& reason : found.reasons) std::cout << reason << "\n";
  if (!found.plan) return kNone;
  std::cout << found.plan->file.string() << "\n";
  return 0;
}

int write(const Words& words) {
  const stpl_rt::PlanRequest wanted = request(words, 3);
  std::vector<stpl_rt::PlanTensor> tensors;
  for (const auto& spec : wanted.network.inputs) tensors.push_back({spec.name, true, spec.shape, spec.type});
  for (const auto& spec : wanted.network.outputs)
    tensors.push_back({spec.name, false, spec.shape, spec.type});
  std::cout << stpl_rt::write_plan(words.at(2), own_identity(wanted), read(words.at(1)), tensors).string()
            << "\n";
  return 0;
}

int run(const Words& words) {
  const std::string& command = words.at(0);
  if (command == "find") return find(words);
  if (command == "write") return write(words);
  if (command == "folder") {
    std::cout << stpl_rt::plans_folder().string() << "\n";
  } else if (command == "precision") {
    std::cout << stpl_rt::stored_precision(read(words.at(1))) << "\n";
  } else if (command == "target") {
    std::cout << target_of(device(words.at(2), words.at(3)), words.at(1)) << "\n";
  } else {
    throw std::runtime_error("expected folder, precision, target, find or write, found " + command);
  }
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  try {
    return run(Words(arguments + 1, arguments + count));
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 2;
  }
}
