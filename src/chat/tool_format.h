// How models write tool calls: one entry per format, in tool_formats/, listed in tool_formats.inc.
//
// The parser of answers (answer_parser.h) looks for a format's marks in the text; from a mark on, a BlockReader of the
// format says what the text is. Entries are constants; a BlockReader belongs to one answer.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chat/tool_set.h"

namespace moxie {

// A text that begins something other than plain text.
struct ToolMark {
  enum class Where : uint8_t {
    anywhere,
    first,       // only where the answer begins, or goes on after a call
    after_call,  // only behind a call
  };
  std::string_view text;
  Where where = Where::anywhere;
  // A control token, which a model writes only to call: it also ends reasoning.
  bool control = false;
};

// What a text is that begins with a mark and grows.
struct BlockScan {
  enum class Verdict : uint8_t {
    more,       // cannot be told yet
    calls,      // the first `used` bytes are `calls`
    reasoning,  // the first `used` bytes begin reasoning; it lasts up to one of the format's reasoning_ends
    answer,     // the first `used` bytes stand for `text`
    separator,  // the first `used` bytes belong to a call if one comes next, else they are text
    dropped,    // the first `used` bytes mean nothing
    text,       // the mark is text
  };
  Verdict verdict = Verdict::more;
  size_t used = 0;
  std::vector<CalledTool> calls = {};
  std::string text = {};
};

class BlockReader {
 public:
  virtual ~BlockReader() = default;
  // `block` begins with the mark and only grows from call to call. `ended`: nothing follows, and `cut`: because a limit
  // was reached, not because the model was done. After any verdict but `more`, or with `ended`, it is not called again.
  struct End {
    bool ended = false, cut = false;
  };
  virtual BlockScan scan(std::string_view block, End end) = 0;
};

// How ids of calls look.
enum class CallIds : uint8_t {
  plain,      // "call_" and 24 letters and digits
  mistral,    // 9 letters and digits
  functions,  // "functions.NAME:INDEX", counted over the conversation
};

struct ToolFormat {
  std::string_view name;
  std::string_view summary;
  // Does a chat template (its Jinja source) teach this format?
  bool (*matches)(std::string_view chat_template);
  std::span<const ToolMark> marks;
  std::unique_ptr<BlockReader> (*read)(const ToolSet& tools, size_t mark);
  // Calls of these tools, and nothing else, as a structure (grammar/structure.h). Null: sampling cannot be held to it.
  Json (*frame)(const ToolSet& tools, bool many, std::string_view chat_template) = nullptr;
  CallIds ids = CallIds::plain;
  // The template says nothing of tools: the format is described in the system message.
  bool described = false;
  // The whole answer is written in channels: marks count also where no tools are offered.
  bool channels = false;
  std::span<const std::string_view> reasoning_ends = {};  // of BlockScan::reasoning
};

std::span<const ToolFormat* const> tool_formats();
// The first whose template it is; the one that is described where none is.
const ToolFormat& tool_format_of(std::string_view chat_template);
const ToolFormat* find_tool_format(std::string_view name);

}  // namespace moxie
