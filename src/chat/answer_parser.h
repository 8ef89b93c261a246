// Splits a model's answer, as its text comes, into text, reasoning and tool calls. One state machine for streams and
// whole answers: however the text is cut into pieces, the events say the same.
//
// The text must show the control tokens of the format ([TOOL_CALLS], <|channel|>): generate with
// GenerateOptions::special where AnswerFormat::shows_control() says so. End tokens give no text and need none.
//
// A call becomes events once it is whole and reads as a call: an agent runs what it is given, and half a call must not
// look like one. What turns out to be none is text, as the model wrote it. An AnswerParser belongs to one answer.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chat/answer_event.h"
#include "chat/reasoning_marks.h"
#include "chat/tool_format.h"
#include "chat/tool_set.h"

namespace moxie {

struct AnswerFormat {
  const ToolFormat* calls = nullptr;  // null: calls are not looked for
  ReasoningMarks reasoning;
  // Of a chat template's text.
  static AnswerFormat of_template(std::string_view chat_template);
  bool shows_control() const;
};

struct AnswerParserOptions {
  AnswerFormat format;
  ToolSet tools;                     // empty: the answer cannot call
  bool starts_in_reasoning = false;  // prompt_opens_reasoning()
  bool parallel = true;              // false: calls after the first are left out
  uint64_t id_seed = 0;              // ids of calls follow from it
  size_t earlier_calls = 0;          // in the conversation, for formats that count
};

class AnswerParser {
 public:
  explicit AnswerParser(AnswerParserOptions options);
  AnswerParser(const AnswerParser&) = delete;  // readers refer to the tools

  void feed(std::string_view text, std::vector<AnswerEvent>& events);
  // Nothing follows. `cut`: a limit ended the answer, not the model.
  void finish(bool cut, std::vector<AnswerEvent>& events);
  size_t calls() const { return calls_; }  // so far

 private:
  enum class Mode { text, reasoning, block };
  struct Found {
    size_t at = std::string::npos;  // nothing is found: where the rest has to wait for more, or npos
    size_t mark = 0;                // index into marks; kReasoningMark
    bool whole = false;
  };

  bool step(BlockReader::End end, std::vector<AnswerEvent>& events);
  bool step_text(bool ended, std::vector<AnswerEvent>& events);
  bool step_reasoning(bool ended, std::vector<AnswerEvent>& events);
  bool step_block(BlockReader::End end, std::vector<AnswerEvent>& events);
  Found find_mark() const;
  void emit_text(std::string_view text, std::vector<AnswerEvent>& events);
  void emit_reasoning(std::string_view text, std::vector<AnswerEvent>& events);
  void emit_call(const CalledTool& call, std::vector<AnswerEvent>& events);
  void end_reasoning(size_t used);
  std::string id_of(const CalledTool& call) const;

  const AnswerParserOptions options_;
  std::vector<ToolMark> marks_;
  std::string pending_;  // not yet decided
  std::string held_;     // blanks and separators: dropped if a call comes next, text if text does
  Mode mode_ = Mode::text;
  std::unique_ptr<BlockReader> reader_;
  size_t reader_mark_ = 0;
  bool in_channel_ = false;   // the reasoning is a channel's
  bool any_text_ = false;     // since the begin or the last call
  bool skip_blanks_ = false;  // of what follows: a line end behind a mark
  size_t calls_ = 0;
};

}  // namespace moxie
