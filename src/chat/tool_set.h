// The tools a request offers, and what a model's spelling of a call's arguments means under their schemas. Immutable
// once made; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "moxie/error.h"

namespace moxie {

struct Tool {
  std::string name, description;
  Json parameters;  // a JSON schema, always an object
  bool strict = false;
};

class ToolSet {
 public:
  ToolSet() = default;
  // `tools` in OpenAI's shape: null, or an array of {type: "function", function: {name, description, parameters,
  // strict}}, where all but the name may be missing or null. Tools of other types are left out. Errors:
  // invalid_argument, naming the entry.
  static Result<ToolSet> read(const Json& tools);

  const std::vector<Tool>& tools() const { return tools_; }
  bool empty() const { return tools_.empty(); }
  const Tool* find(std::string_view name) const;
  void add(Tool tool) { tools_.push_back(std::move(tool)); }
  // Only the tool of that name.
  ToolSet only(std::string_view name) const;
  // The same in OpenAI's shape with every field present, as templates expect it.
  Json to_json() const;

 private:
  std::vector<Tool> tools_;
};

// A call as a model made it.
struct CalledTool {
  std::string id;         // empty: the model gave none
  std::string name;       //
  std::string arguments;  // JSON text of an object
};

// What a format that writes values without their types meant by `text`: `tool` (may be null) says which type the
// parameter has. Text that is no such value is a string.
Json typed_value(const Tool* tool, std::string_view parameter, std::string_view text);

// A call in one of the JSON spellings: {"name": ..., "arguments" or "parameters": {...}}, {"function": {...}},
// {"function": NAME, ...}; arguments may also be a text that holds JSON. Nothing if it is no call.
std::optional<CalledTool> call_of_json(const Json& json);

// The text as a JSON object, compactly; nothing if it is none. Empty text is {}.
std::optional<std::string> arguments_of_text(std::string_view text);

// An id made of letters and digits, the same for the same seed and index.
// Nine letters and digits, as Mistral's templates demand.
bool is_mistral_call_id(std::string_view id);
std::string made_call_id(uint64_t seed, size_t index, size_t length);

}  // namespace moxie
