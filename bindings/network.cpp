// stpl_rt.Network: a bundle's network in the runtime's own engine, for checking exports.
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>

#include "arrays.h"
#include "engine/engine.h"
#include "gil.h"
#include "module.h"
#include "options.h"

namespace stpl_rt::bindings {
namespace {

using nb::literals::operator""_a;

class PythonNetwork {
 public:
  PythonNetwork(const std::filesystem::path& path, Precision precision, int threads)
      : bundle_(Bundle::open(path)),
        engine_(
            compile_network(bundle_.segment, "cpu", precision, shared_pool(threads).size())->make_engine()) {}

  NumpyArray<float> run(const AnyArray& array) {
    const InputSpec& spec = bundle_.input;
    const std::string expected =
        "(3, " + std::to_string(spec.height) + ", " + std::to_string(spec.width) + ")";
    const PackedArray<float> input(array, "input", {3, spec.height, spec.width}, expected);
    const auto classes = bundle_.classes.size();
    const auto height = static_cast<std::size_t>(bundle_.logits.height);
    const auto width = static_cast<std::size_t>(bundle_.logits.width);
    NewArray<float> out(classes * height * width);
    {
      const GilReleased released;
      const std::lock_guard lock(mutex_);
      std::copy_n(input.data(), engine_->input().size(), engine_->input().data());
      std::copy_n(engine_->infer().data(), classes * height * width, out.data());
    }
    return out.give({classes, height, width});
  }

  [[nodiscard]] const Bundle& bundle() const noexcept { return bundle_; }

 private:
  std::mutex mutex_;
  Bundle bundle_;
  std::unique_ptr<Engine> engine_;
};

void init_network(PythonNetwork* self, const std::filesystem::path& path, const std::string& precision,
                  int threads) {
  const Precision parsed = parse_precision(precision);
  const GilReleased released;
  new (self) PythonNetwork(path, parsed, threads);
}

}  // namespace

void register_network(nb::module_& m) {
  nb::class_<PythonNetwork>(
      m, "Network",
      "The network of the bundle at `path` in the runtime's engine: raw logits, nothing else.\n\n"
      "precision: 'f32' | 'bf16' | 'f16'. threads: 0: the cores this process may use.")
      .def("__init__", &init_network, "path"_a, nb::kw_only(), "precision"_a = "f32", "threads"_a = 0)
      .def("__call__", &PythonNetwork::run, "input"_a,
           "float32 (3, h, w), what preprocess() gives -> float32 (C, h', w') logits.")
      .def_prop_ro("bundle", &PythonNetwork::bundle, nb::rv_policy::reference_internal);
}

}  // namespace stpl_rt::bindings
