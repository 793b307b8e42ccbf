#include "text/json_field.h"

#include <stpl_rt/error.h>

#include <cmath>
#include <set>
#include <utility>

#include "core/nearest.h"
#include "text/printable.h"

namespace stpl_rt {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 64;
constexpr std::size_t kShownOfParser = 200;  // it quotes what it read, to the end of the document

std::string shortened(std::string text) {
  constexpr std::size_t kShown = 60;
  if (text.size() > kShown) text = text.substr(0, kShown) + "...";
  return text;
}

// ASCII only, control characters escaped, so that a message cannot be garbled by what it quotes.
std::string quoted(const std::string& text) { return shortened(json(text).dump(-1, ' ', true)); }

bool has_control_character(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || byte == 0x7F) return true;
    // U+0080 to U+009F are C2 80 to C2 9F in UTF-8.
    if (byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0) return true;
  }
  return false;
}

}  // namespace

json parse_json(const std::string& text, const std::string& document) {
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > kMaxDepth) {
      throw Error(ErrorCode::invalid_bundle, document + ": expected at most " + std::to_string(kMaxDepth) +
                                                 " levels of nesting, found more");
    }
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second) {
      throw Error(ErrorCode::invalid_bundle, document + ": expected each key once, found " +
                                                 quoted(parsed.get<std::string>()) + " twice in one object");
    }
    return true;
  };
  try {
    return json::parse(text, watch);
  } catch (const json::exception& error) {
    throw Error(ErrorCode::invalid_bundle,
                document + ": expected JSON in UTF-8: " + printable(error.what(), kShownOfParser));
  }
}

void JsonField::fail(const std::string& expected, const std::string& found) const {
  throw Error(ErrorCode::invalid_bundle, document_ + ": " + (path_.empty() ? "" : path_ + ": ") +
                                             "expected " + expected + ", found " + found);
}

std::string JsonField::found() const {
  if (value_->is_string()) return quoted(value_->get_ref<const std::string&>());
  if (value_->is_object()) return "an object";
  if (value_->is_array()) return "an array of " + std::to_string(value_->size());
  return shortened(value_->dump());
}

std::string JsonField::child_path(std::string_view key) const {
  return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

const JsonField& JsonField::object(std::initializer_list<std::string_view> known) const {
  if (!value_->is_object()) fail("an object");
  for (const auto& [key, unused] : value_->items()) {
    bool is_known = false;
    for (const std::string_view candidate : known) is_known = is_known || candidate == key;
    if (!is_known) {
      const std::span<const std::string_view> words(known.begin(), known.size());
      fail("no unknown key", quoted(key) + " (" + suggest(key, words) + ")");
    }
  }
  return *this;
}

JsonField JsonField::at(std::string_view key) const {
  if (!value_->is_object()) fail("an object");
  const auto member = value_->find(std::string(key));
  if (member == value_->end()) fail("the key \"" + std::string(key) + "\"", "none");
  return {*member, child_path(key), document_};
}

std::optional<JsonField> JsonField::find(std::string_view key) const {
  if (!value_->is_object()) fail("an object");
  const auto member = value_->find(std::string(key));
  if (member == value_->end() || member->is_null()) return std::nullopt;
  return JsonField(*member, child_path(key), document_);
}

std::vector<JsonField> JsonField::array(std::size_t min, std::size_t max) const {
  if (!value_->is_array() || value_->size() < min || value_->size() > max) {
    const std::string count =
        min == max ? std::to_string(min) : std::to_string(min) + " to " + std::to_string(max);
    fail("an array of " + count);
  }
  std::vector<JsonField> elements;
  elements.reserve(value_->size());
  for (std::size_t i = 0; i < value_->size(); ++i) {
    elements.push_back({(*value_)[i], path_ + "[" + std::to_string(i) + "]", document_});
  }
  return elements;
}

std::int64_t JsonField::integer(std::int64_t min, std::int64_t max) const {
  // Comparing across signs is what std::cmp_* are for: 2^64 - 1 must not read as -1.
  bool in_range = false;
  if (value_->is_number_unsigned()) {
    const auto number = value_->get<std::uint64_t>();
    in_range = std::cmp_greater_equal(number, min) && std::cmp_less_equal(number, max);
  } else if (value_->is_number_integer()) {
    const auto number = value_->get<std::int64_t>();
    in_range = number >= min && number <= max;
  }
  if (!in_range) fail("an integer from " + std::to_string(min) + " to " + std::to_string(max));
  return value_->get<std::int64_t>();
}

float JsonField::number(float min, float max) const {
  const double number = value_->is_number() ? value_->get<double>() : std::nan("");
  if (!(number >= min && number <= max)) {
    fail("a number from " + json(min).dump() + " to " + json(max).dump());
  }
  return static_cast<float>(number);
}

bool JsonField::boolean() const {
  if (!value_->is_boolean()) fail("true or false");
  return value_->get<bool>();
}

std::string JsonField::text(std::size_t max_bytes) const {
  const std::string expected =
      "text of 1 to " + std::to_string(max_bytes) + " bytes without control characters";
  if (!value_->is_string()) fail(expected);
  const auto& text = value_->get_ref<const std::string&>();
  if (text.empty() || text.size() > max_bytes || has_control_character(text)) fail(expected);
  return text;
}

std::size_t JsonField::choice(std::initializer_list<std::string_view> choices) const {
  std::string expected;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const std::string_view candidate = choices.begin()[i];
    if (value_->is_string() && value_->get_ref<const std::string&>() == candidate) return i;
    expected += (i == 0 ? "\"" : " or \"") + std::string(candidate) + "\"";
  }
  fail(expected);
}

}  // namespace stpl_rt
