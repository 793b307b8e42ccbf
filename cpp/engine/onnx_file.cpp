#include "engine/onnx_file.h"

#include <array>
#include <cstdint>
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
constexpr std::array<Edge, 14> kEdges = {{{Message::model, 7, Message::graph},
                                          {Message::model, 25, Message::function},
                                          {Message::graph, 1, Message::node},
                                          {Message::graph, 5, Message::tensor},
                                          {Message::graph, 15, Message::sparse},
                                          {Message::node, 5, Message::attribute},
                                          {Message::function, 7, Message::node},
                                          {Message::attribute, 5, Message::tensor},
                                          {Message::attribute, 6, Message::graph},
                                          {Message::attribute, 10, Message::tensor},
                                          {Message::attribute, 11, Message::graph},
                                          {Message::attribute, 22, Message::sparse},
                                          {Message::sparse, 1, Message::tensor},
                                          {Message::sparse, 2, Message::tensor}}};
constexpr std::uint64_t kTensorExternalData = 13;
constexpr std::uint64_t kTensorDataLocation = 14;  // 0: in the file
constexpr int kMaxDepth = 100;                     // protocol buffers' own limit

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

// The next field of a message; nothing at its end or where it is malformed.
std::optional<Field> take_field(std::string_view& bytes) {
  const auto key = take_varint(bytes);
  if (!key) return std::nullopt;
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

bool has_external_data(std::string_view bytes, Message message, int depth) {
  if (depth > kMaxDepth) return false;
  while (const auto field = take_field(bytes)) {
    if (message == Message::tensor) {
      if (field->number == kTensorExternalData) return true;
      if (field->number == kTensorDataLocation && field->varint != 0) return true;
    }
    for (const Edge& edge : kEdges) {
      const bool leads_on = edge.from == message && edge.field == field->number;
      if (leads_on && has_external_data(field->content, edge.to, depth + 1)) return true;
    }
  }
  return false;
}

}  // namespace

bool has_external_data(std::string_view model) { return has_external_data(model, Message::model, 0); }

}  // namespace stpl_rt
