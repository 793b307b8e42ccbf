#include "engine/tensor_limit.h"

#include <openvino/op/util/multi_subgraph_base.hpp>

#include "text/printable.h"

namespace stpl_rt {
namespace {

constexpr double kMaxBytes = 4.0 * (1U << 30);  // as many as the manifest's largest logits take
constexpr std::size_t kShown = 80;

// At least; in floating point, which no shape overflows.
double bytes_of(const ov::Output<const ov::Node>& tensor) {
  const ov::PartialShape& shape = tensor.get_partial_shape();
  if (shape.rank().is_dynamic()) return 0;
  double bytes = static_cast<double>(tensor.get_element_type().bitwidth()) / 8;
  for (const ov::Dimension& side : shape) bytes *= static_cast<double>(side.get_min_length());
  return bytes;
}

}  // namespace

std::optional<std::string> find_giant_tensor(const ov::Model& model) {
  for (const std::shared_ptr<ov::Node>& node : model.get_ops()) {
    for (const ov::Output<const ov::Node>& tensor : std::as_const(*node).outputs()) {
      if (bytes_of(tensor) > kMaxBytes) {
        return printable(node->get_friendly_name(), kShown) + " of shape " +
               printable(tensor.get_partial_shape().to_string(), kShown);
      }
    }
    const auto* const parent = dynamic_cast<const ov::op::util::MultiSubGraphOp*>(node.get());
    for (std::size_t i = 0; parent != nullptr && i < parent->get_internal_subgraphs_size(); ++i) {
      if (auto found = find_giant_tensor(*parent->get_function(i))) return found;
    }
  }
  return std::nullopt;
}

}  // namespace stpl_rt
