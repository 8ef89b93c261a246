// What the readers of tool calls share. A JsonSpan belongs to one text; the rest are pure functions.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/tool_format.h"

namespace moxie {

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}
// The first place at or after `from` that holds no blank or line end; the text's size if there is none.
size_t skip_blanks(std::string_view text, size_t from);
std::string_view without_blanks(std::string_view text);

// Does `part` stand at `at`: yes, no, or only its beginning, where the text ends.
enum class Stands { no, partly, yes };
Stands stands_at(std::string_view text, size_t at, std::string_view part);

// Where the JSON object or array that begins at `begin` of a growing text ends. It looks at each byte once, at brackets
// and strings only: the end is where it would be if the text were JSON.
class JsonSpan {
 public:
  enum class State { more, whole, broken };
  explicit JsonSpan(size_t begin) : at_(begin) {}
  State read(std::string_view text);
  size_t end() const { return at_; }  // behind the last bracket, once whole
  // The brackets that a model left out which ended between two values; nothing within a string.
  std::optional<std::string> missing() const;

 private:
  size_t at_;
  std::string open_;  // the closing brackets that are due, innermost last
  bool in_string_ = false, escaped_ = false;
  State state_ = State::more;
};

// The JSON value from `begin` on, with the brackets that are missing if the model ended by itself.
struct ReadJson {
  JsonSpan::State state = JsonSpan::State::more;  // whole: `json` is what it says
  size_t end = 0;
  Json json;
};
ReadJson read_json(JsonSpan& span, std::string_view text, size_t begin, BlockReader::End end);

// A call written in Python: name(key="value", other=[1, 2]). Parses from `at` on, up to and behind the last bracket;
// nothing if it is none (or not whole).
struct PythonCall {
  std::string name;
  Json arguments;
  size_t end = 0;
};
std::optional<PythonCall> read_python_call(std::string_view text, size_t at);

// A call that is a head with its name, an object with its arguments, and marks that close it, any of which may be
// missing. For one call.
class HeadedCallReader : public BlockReader {
 public:
  BlockScan scan(std::string_view block, End end) final;

 protected:
  enum class Head { more, text, read };
  // Reads what stands before the arguments: their place, and what it says of the call. Asked until it is no more
  // `more`.
  virtual Head head(std::string_view block, CalledTool& call, size_t& arguments) = 0;
  // The longest that a head can be: more text without its end is no call.
  static constexpr size_t kHeadMax = 288;
  std::vector<std::string_view> closing_;  // marks, in their order

 private:
  size_t begin_ = 0, used_ = 0;
  std::optional<JsonSpan> span_;
  CalledTool call_;
};

// Of a mark that surrounds calls and means nothing by itself.
std::unique_ptr<BlockReader> separator_reader(size_t length);

inline BlockScan more() {
  return {};
}
inline BlockScan is_text() {
  return {.verdict = BlockScan::Verdict::text};
}
inline BlockScan is_call(size_t used, CalledTool call) {
  BlockScan scan{.verdict = BlockScan::Verdict::calls, .used = used};
  scan.calls.push_back(std::move(call));
  return scan;
}

}  // namespace moxie
