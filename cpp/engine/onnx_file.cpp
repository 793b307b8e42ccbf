#include "engine/onnx_file.h"

#include <array>
#include <cstdint>
#include <limits>
#include <optional>

namespace stpl_rt {
namespace {

// The messages of onnx.proto that lead to tensors, with the numbers of the fields on the way.
enum class Message { model, graph, node, attribute, function, sparse, tensor };

struct Edge {
  Message from;
  std::uint64_t field;
  Message to;
};
constexpr std::array<Edge, 16> kEdges = {{{Message::model, 7, Message::graph},
                                          {Message::model, 25, Message::function},
                                          {Message::graph, 1, Message::node},
                                          {Message::graph, 5, Message::tensor},
                                          {Message::graph, 15, Message::sparse},
                                          {Message::node, 5, Message::attribute},
                                          {Message::function, 7, Message::node},
                                          {Message::function, 11, Message::attribute},
                                          {Message::attribute, 5, Message::tensor},
                                          {Message::attribute, 6, Message::graph},
                                          {Message::attribute, 10, Message::tensor},
                                          {Message::attribute, 11, Message::graph},
                                          {Message::attribute, 22, Message::sparse},
                                          {Message::attribute, 23, Message::sparse},
                                          {Message::sparse, 1, Message::tensor},
                                          {Message::sparse, 2, Message::tensor}}};
constexpr std::uint64_t kTensorExternalData = 13;
constexpr std::uint64_t kTensorDataLocation = 14;  // 0: in the file
constexpr std::uint64_t kModelGraph = 7;
constexpr std::uint64_t kGraphNode = 1;
constexpr std::uint64_t kGraphInitializer = 5;
constexpr std::uint64_t kNodeOperator = 4;
constexpr std::uint64_t kNodeAttribute = 5;
constexpr std::uint64_t kAttributeName = 1;
constexpr std::uint64_t kAttributeInteger = 3;
constexpr std::uint64_t kTensorType = 2;
constexpr std::uint64_t kFloat16 = 10;  // of TensorProto.DataType
constexpr std::uint64_t kBfloat16 = 16;
constexpr int kMaxDepth = 100;  // protocol buffers' own limit

std::optional<std::uint64_t> take_varint(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    value |= std::uint64_t{byte & 0x7FU} << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

struct Field {
  std::uint64_t number = 0;
  std::uint64_t varint = 0;  // wire type 0
  std::string_view content;  // wire type 2
};

std::optional<Field> read_field(std::string_view& bytes) {
  const auto key = take_varint(bytes);
  if (!key || *key > std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
  Field field{.number = *key >> 3, .varint = 0, .content = {}};
  std::size_t length = 0;
  switch (*key & 7) {
    case 0: {
      const auto value = take_varint(bytes);
      if (!value) return std::nullopt;
      field.varint = *value;
      return field;
    }
    case 1:
      length = 8;
      break;
    case 2: {
      const auto value = take_varint(bytes);
      if (!value) return std::nullopt;
      length = *value;
      break;
    }
    case 5:
      length = 4;
      break;
    default:
      return std::nullopt;
  }
  if (length > bytes.size()) return std::nullopt;
  field.content = bytes.substr(0, length);
  bytes.remove_prefix(length);
  return field;
}

// The next field of a message; nothing at its end, where `bytes` are empty, or where it cannot be read on: it
// is malformed, or it has what ONNX does not (groups) or parsers read differently (keys of more than 32
// bits).
std::optional<Field> take_field(std::string_view& bytes) {
  if (bytes.empty()) return std::nullopt;
  std::string_view rest = bytes;
  auto field = read_field(rest);
  if (field) bytes = rest;
  return field;
}

// What comes of looking through a message: `outside` as soon as it is seen, `unreadable` where something
// cannot be looked through, as an engine's parser may read on where ours cannot.
Weights look_through(std::string_view bytes, Message message, int depth) {
  if (depth > kMaxDepth) return Weights::unreadable;
  while (const auto field = take_field(bytes)) {
    if (message == Message::tensor) {
      if (field->number == kTensorExternalData) return Weights::outside;
      if (field->number == kTensorDataLocation && field->varint != 0) return Weights::outside;
    }
    for (const Edge& edge : kEdges) {
      if (edge.from != message || edge.field != field->number) continue;
      const Weights found = look_through(field->content, edge.to, depth + 1);
      if (found != Weights::inside) return found;
    }
  }
  return bytes.empty() ? Weights::inside : Weights::unreadable;
}

// Calls `use` with every field `number` of a message.
template <class Use>
void for_each(std::string_view message, std::uint64_t number, Use&& use) {
  while (const auto field = take_field(message)) {
    if (field->number == number) use(*field);
  }
}

// The types that a node which is a Cast casts to.
template <class Use>
void for_each_cast(std::string_view node, Use&& use) {
  bool is_cast = false;
  for_each(node, kNodeOperator, [&](const Field& field) { is_cast = field.content == "Cast"; });
  if (!is_cast) return;
  for_each(node, kNodeAttribute, [&](const Field& attribute) {
    bool is_to = false;
    std::uint64_t type = 0;
    for_each(attribute.content, kAttributeName, [&](const Field& f) { is_to = f.content == "to"; });
    for_each(attribute.content, kAttributeInteger, [&](const Field& f) { type = f.varint; });
    if (is_to) use(type);
  });
}

}  // namespace

bool has_operator(std::string_view model, std::string_view name) {
  bool found = false;
  for_each(model, kModelGraph, [&](const Field& graph) {
    for_each(graph.content, kGraphNode, [&](const Field& node) {
      for_each(node.content, kNodeOperator,
               [&](const Field& type) { found = found || type.content == name; });
    });
  });
  return found;
}

std::string stored_precision(std::string_view model) {
  if (has_operator(model, "QuantizeLinear")) return "int8";
  bool half = false;
  bool bfloat = false;
  const auto look_at = [&](std::uint64_t type) {
    half = half || type == kFloat16;
    bfloat = bfloat || type == kBfloat16;
  };
  for_each(model, kModelGraph, [&](const Field& graph) {
    for_each(graph.content, kGraphInitializer, [&](const Field& tensor) {
      for_each(tensor.content, kTensorType, [&](const Field& type) { look_at(type.varint); });
    });
    for_each(graph.content, kGraphNode, [&](const Field& node) { for_each_cast(node.content, look_at); });
  });
  return bfloat ? "bf16" : half ? "fp16" : "fp32";
}

Weights weights_of(std::string_view model) { return look_through(model, Message::model, 0); }

}  // namespace stpl_rt
