#include "engine/plan_sidecar.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "text/json_field.h"
#include "text/printable.h"

namespace stpl_rt {

const char* const kDefaultSettings =
    R"({"batches":[1,1,1],"compute_capabilities":[],"workspace_mib":null,"optimization_level":null,)"
    R"("max_tactics":null,"tactic_sources":null,"tf32":false,"dla_core":null})";

namespace {

constexpr const char* kFormat = "stpl-plan-1";
constexpr const char* kRtx = "tensorrt_rtx";
constexpr const char* kRtxTarget = "sm80-up";
constexpr int kRtxFirst = 80;
constexpr std::size_t kMaxText = 256;
constexpr std::size_t kMaxTensors = 16;
constexpr std::size_t kMaxRank = 8;
constexpr int kMaxCores = 16;
constexpr std::int64_t kMaxCount = std::int64_t{1} << 40;

std::string read_hash(const JsonField& field) {
  std::string hash = field.text(kMaxText);
  if (hash.size() != 64 || hash.find_first_not_of("0123456789abcdef") != std::string::npos) {
    field.fail("a SHA-256 of 64 lower-case hexadecimal digits");
  }
  return hash;
}

PlanIdentity read_identity(const JsonField& field) {
  field.object(
      {"library", "library_version", "target", "network", "network_sha256", "precision", "settings"});
  const JsonField settings = field.at("settings");
  if (!settings.value().is_object()) settings.fail("an object");
  return {.library = field.at("library").text(kMaxText),
          .library_version = field.at("library_version").text(kMaxText),
          .target = field.at("target").text(kMaxText),
          .network = field.at("network").text(kMaxText),
          .network_sha256 = read_hash(field.at("network_sha256")),
          .precision = field.at("precision").text(kMaxText),
          .settings = settings.value().dump()};
}

PlanTensor read_tensor(const JsonField& field) {
  field.object({"name", "mode", "shape", "type"});
  PlanTensor tensor;
  tensor.name = field.at("name").text(kMaxText);
  tensor.is_input = field.at("mode").choice({"input", "output"}) == 0;
  for (const JsonField& side : field.at("shape").array(0, kMaxRank)) {
    tensor.shape.push_back(side.integer(-1, kMaxCount));
  }
  tensor.type = field.at("type").text(kMaxText);
  return tensor;
}

std::string text_of(const PlanTensor& tensor) {
  std::string text =
      std::string(tensor.is_input ? "input \"" : "output \"") + tensor.name + "\" of " + tensor.type + " [";
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    text += (i == 0 ? "" : ",") + std::to_string(tensor.shape[i]);
  }
  return printable(text + "]", 2 * kMaxText);
}

bool has_shape(const PlanTensor& tensor, const std::vector<std::int64_t>& shape) {
  if (tensor.shape.size() != shape.size() || shape.empty()) return false;
  const bool batch = tensor.shape.front() == shape.front() || tensor.shape.front() == -1;
  return batch && std::equal(shape.begin() + 1, shape.end(), tensor.shape.begin() + 1);
}

// What the settings of a build, which any exporter may extend, must say.
std::optional<std::string> settings_fault(const std::string& text) {
  const auto settings = nlohmann::json::parse(text);
  const auto batches = settings.find("batches");
  const bool known = batches != settings.end() && batches->is_array() && batches->size() == 3 &&
                     batches->at(0).is_number_integer() && batches->at(2).is_number_integer();
  if (!known || batches->at(0) > 1 || batches->at(2) < 1) {
    return "batches: expected three numbers, the first to the last of which hold 1, found " +
           printable(known ? batches->dump() : text, kMaxText);
  }
  const auto core = settings.find("dla_core");
  const bool sound =
      core == settings.end() || core->is_null() || (core->is_number_unsigned() && *core < kMaxCores);
  if (!sound) return "dla_core: expected null or a small number, found " + printable(core->dump(), kMaxText);
  return std::nullopt;
}

}  // namespace

std::optional<int> dla_core_of(const PlanIdentity& identity) {
  const auto settings = nlohmann::json::parse(identity.settings);
  const auto core = settings.find("dla_core");
  if (core == settings.end() || !core->is_number_integer()) return std::nullopt;
  return core->get<int>();
}

PlanSidecar parse_sidecar(const std::string& text, const std::string& document) {
  const nlohmann::json parsed = parse_json(text, document);
  const JsonField root(parsed, document);
  // The format first: what else one of another format holds is not ours to judge.
  (void)root.at("format").choice({kFormat});
  root.object({"format", "identity", "tensors", "plan_bytes", "plan_sha256"});
  PlanSidecar sidecar;
  sidecar.identity = read_identity(root.at("identity"));
  for (const JsonField& tensor : root.at("tensors").array(1, kMaxTensors)) {
    sidecar.tensors.push_back(read_tensor(tensor));
  }
  sidecar.plan_bytes = static_cast<std::uint64_t>(root.at("plan_bytes").integer(0, kMaxCount));
  sidecar.plan_sha256 = read_hash(root.at("plan_sha256"));
  return sidecar;
}

std::string to_json(const PlanSidecar& sidecar) {
  const PlanIdentity& identity = sidecar.identity;
  nlohmann::ordered_json out;
  out["format"] = kFormat;
  out["identity"] = {{"library", identity.library},
                     {"library_version", identity.library_version},
                     {"target", identity.target},
                     {"network", identity.network},
                     {"network_sha256", identity.network_sha256},
                     {"precision", identity.precision},
                     {"settings", nlohmann::ordered_json::parse(identity.settings)}};
  out["tensors"] = nlohmann::ordered_json::array();
  for (const PlanTensor& tensor : sidecar.tensors) {
    out["tensors"].push_back({{"name", tensor.name},
                              {"mode", tensor.is_input ? "input" : "output"},
                              {"shape", tensor.shape},
                              {"type", tensor.type}});
  }
  out["plan_bytes"] = sidecar.plan_bytes;
  out["plan_sha256"] = sidecar.plan_sha256;
  return out.dump(2) + "\n";
}

PlanIdentity own_identity(const PlanRequest& request) {
  return {.library = request.library,
          .library_version = request.library_version,
          .target = target_of(request.device, request.library),
          .network = request.network.name,
          .network_sha256 = request.network.sha256,
          .precision = request.precision,
          .settings = kDefaultSettings};
}

std::string target_of(const PlanDevice& device, const std::string& library) {
  if (library == kRtx) return kRtxTarget;
  std::string name;  // lower-case words, a dash between them
  for (const char c : device.name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && std::isalnum(byte) != 0) {
      name += static_cast<char>(std::tolower(byte));
    } else if (!name.empty() && name.back() != '-') {
      name += '-';
    }
  }
  while (!name.empty() && name.back() == '-') name.pop_back();
  return name + "-sm" + std::to_string(device.compute_capability);
}

bool covers(const std::string& target, const PlanDevice& device, const std::string& library) {
  if (library != kRtx) return target == target_of(device, library);
  if (target == kRtxTarget) return device.compute_capability >= kRtxFirst;
  const std::string own = "-sm" + std::to_string(device.compute_capability) + "-";
  return ("-" + target + "-").find(own) != std::string::npos;
}

std::optional<std::string> tensors_fault(const std::vector<PlanTensor>& tensors, const NetworkSpec& network) {
  const std::size_t expected = network.inputs.size() + network.outputs.size();
  if (tensors.size() != expected) {
    return "tensors: expected " + std::to_string(expected) + ", found " + std::to_string(tensors.size());
  }
  const auto fault_of = [&](const TensorSpec& spec, bool is_input) -> std::optional<std::string> {
    const auto found =
        std::find_if(tensors.begin(), tensors.end(), [&](const auto& t) { return t.name == spec.name; });
    const PlanTensor wanted{.name = spec.name, .is_input = is_input, .shape = spec.shape, .type = spec.type};
    if (found == tensors.end()) return "tensors: expected " + text_of(wanted) + ", found none of that name";
    const bool typed = found->type == "float32" || found->type == "float16";
    if (found->is_input == is_input && typed && has_shape(*found, spec.shape)) return std::nullopt;
    return "tensors: expected " + text_of(wanted) + " (or float16) as the manifest says, found " +
           text_of(*found);
  };
  for (const TensorSpec& spec : network.inputs) {
    if (auto fault = fault_of(spec, true)) return fault;
  }
  for (const TensorSpec& spec : network.outputs) {
    if (auto fault = fault_of(spec, false)) return fault;
  }
  return std::nullopt;
}

std::optional<std::string> plan_fault(const PlanSidecar& sidecar, const PlanRequest& request) {
  const PlanIdentity& found = sidecar.identity;
  const auto differs = [](const char* field, const std::string& expected, const std::string& there) {
    return std::string(field) + ": expected " + expected + ", found " + printable(there, kMaxText);
  };
  if (found.library != request.library) return differs("library", request.library, found.library);
  if (found.library_version != request.library_version) {
    return differs("library_version", request.library_version, found.library_version);
  }
  if (!covers(found.target, request.device, request.library)) {
    return differs("target", target_of(request.device, request.library), found.target);
  }
  if (found.network != request.network.name) return differs("network", request.network.name, found.network);
  if (found.network_sha256 != request.network.sha256) {
    return differs("network_sha256", request.network.sha256, found.network_sha256);
  }
  if (found.precision != request.precision) return differs("precision", request.precision, found.precision);
  if (auto fault = settings_fault(found.settings)) return fault;
  return tensors_fault(sidecar.tensors, request.network);
}

}  // namespace stpl_rt
