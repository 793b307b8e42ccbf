// Typed, checked access to a JSON document; every failure names the field, what was expected and what was
// found.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace stpl_rt {

// Parses `text`, refusing syntax errors, duplicate keys and nesting deeper than 64 levels with
// Error(invalid_bundle). `document` names the text in messages.
nlohmann::json parse_json(const std::string& text, const std::string& document);

// A value inside a parsed document, with the path that leads to it ("input.lut[2]"). Borrows the document.
class JsonField {
 public:
  // The whole of a document, which messages call `document`.
  JsonField(const nlohmann::json& value, std::string document) : JsonField(value, "", std::move(document)) {}

  // The value must be an object without keys other than these.
  const JsonField& object(std::initializer_list<std::string_view> known) const;
  // The member `key`, which must be there.
  [[nodiscard]] JsonField at(std::string_view key) const;
  // The member `key`, or nothing where it is absent or null.
  [[nodiscard]] std::optional<JsonField> find(std::string_view key) const;
  // The elements of an array of `min` to `max` elements.
  [[nodiscard]] std::vector<JsonField> array(std::size_t min, std::size_t max) const;

  [[nodiscard]] std::int64_t integer(std::int64_t min, std::int64_t max) const;
  [[nodiscard]] float number(float min, float max) const;  // finite
  [[nodiscard]] bool boolean() const;
  // Text of 1 to `max_bytes` bytes without control characters (UTF-8 is checked by the parser).
  [[nodiscard]] std::string text(std::size_t max_bytes) const;
  // The position of the text among `choices`.
  [[nodiscard]] std::size_t choice(std::initializer_list<std::string_view> choices) const;

  [[nodiscard]] const nlohmann::json& value() const noexcept { return *value_; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  // What stands here, short enough for a message.
  [[nodiscard]] std::string found() const;
  [[noreturn]] void fail(const std::string& expected) const { fail(expected, found()); }
  [[noreturn]] void fail(const std::string& expected, const std::string& found) const;

 private:
  JsonField(const nlohmann::json& value, std::string path, std::string document)
      : value_(&value), path_(std::move(path)), document_(std::move(document)) {}
  [[nodiscard]] std::string child_path(std::string_view key) const;

  const nlohmann::json* value_;
  std::string path_;
  std::string document_;
};

}  // namespace stpl_rt
