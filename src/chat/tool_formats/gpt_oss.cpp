// gpt-oss: every message has a channel. <|channel|>analysis<|message|> is reasoning, final and commentary are the
// answer, and a message with a recipient (to=functions.NAME, in the channel's header or before it) is a call.
#include "chat/tool_format.h"
#include "chat/tool_frame.h"
#include "chat/tool_reading.h"

namespace moxie::call_formats {
namespace {

constexpr std::string_view kChannel = "<|channel|>", kStart = "<|start|>", kMessage = "<|message|>";
constexpr std::string_view kEnd = "<|end|>", kReturn = "<|return|>", kCall = "<|call|>", kRecipient = " to=";
constexpr size_t kHeaderMax = 512;

constexpr ToolMark kMarks[] = {
    {.text = kChannel, .control = true},
    {.text = kStart, .control = true},
    {.text = kRecipient, .where = ToolMark::Where::first},  // the prompt ends with <|start|>assistant
    {.text = kEnd, .control = true},
    {.text = kReturn, .control = true},
    {.text = kCall, .control = true},
};
constexpr std::string_view kReasoningEnds[] = {kEnd, kReturn, kCall, kStart, kChannel};

std::string_view word_behind(std::string_view text, std::string_view mark) {
  const size_t at = text.find(mark);
  if (at == std::string_view::npos) return {};
  text.remove_prefix(at + mark.size());
  return text.substr(0, std::min(text.find_first_of(" <\n"), text.size()));
}

class Reader final : public BlockReader {
 public:
  BlockScan scan(std::string_view block, End end) override {
    if (!span_) {
      const size_t message = block.find(kMessage);
      if (message == std::string_view::npos) {
        if (end.ended) return {.verdict = BlockScan::Verdict::dropped, .used = block.size()};
        return block.size() > kHeaderMax ? is_text() : more();
      }
      const std::string_view header = block.substr(0, message);
      begin_ = message + kMessage.size();
      std::string_view recipient = word_behind(header, "to=");
      if (recipient.empty() || recipient == "assistant" || recipient == "user") {
        const bool reasons = word_behind(header, kChannel) == "analysis";
        return {.verdict = reasons ? BlockScan::Verdict::reasoning : BlockScan::Verdict::dropped, .used = begin_};
      }
      if (recipient.starts_with("functions.")) recipient.remove_prefix(10);
      call_.name = recipient;
      const size_t first = skip_blanks(block, begin_);
      if (first == block.size() && !end.ended) return more();
      begin_ = first;
      span_.emplace(begin_);
    }
    const ReadJson read = read_json(*span_, block, begin_, end);
    if (read.state == JsonSpan::State::more) return more();
    if (read.state == JsonSpan::State::broken || !read.json.object()) return is_text();
    call_.arguments = to_text(read.json);
    return is_call(read.end, call_);
  }

 private:
  size_t begin_ = 0;
  std::optional<JsonSpan> span_;
  CalledTool call_;
};

class EndReader final : public BlockReader {
 public:
  explicit EndReader(size_t length) : length_(length) {}
  BlockScan scan(std::string_view, End) override { return {.verdict = BlockScan::Verdict::dropped, .used = length_}; }

 private:
  const size_t length_;
};

// One call, perhaps after reasoning: the model ends its turn to have it answered.
Json gpt_oss_frame(const ToolSet& tools, bool, std::string_view) {
  Json call = frame::each_tool(tools, [](const Tool& tool) {
    return frame::sequence({frame::text("commentary to=functions." + tool.name + " "), frame::token("<|constrain|>"),
                            frame::text("json"), frame::token(kMessage), frame::schema(tool.parameters)});
  });
  Json reasoning =
      frame::sequence({frame::token(kChannel), frame::text("analysis"), frame::token(kMessage), frame::free_text(kEnd),
                       frame::token(kEnd), frame::token(kStart), frame::text("assistant")});
  return frame::with_call(std::move(call), frame::sequence({frame::optional(std::move(reasoning)),
                                                            frame::token(kChannel), frame::rule("call")}));
}

}  // namespace

extern constinit const ToolFormat gpt_oss = {
    .name = "gpt-oss",
    .summary = "channels: <|channel|>commentary to=functions.NAME<|message|>{...}<|call|> (gpt-oss)",
    .matches = [](std::string_view text) { return contains(text, kChannel) && contains(text, kStart); },
    .marks = kMarks,
    .read = [](const ToolSet&, size_t mark) -> std::unique_ptr<BlockReader> {
      if (mark < 3) return std::make_unique<Reader>();
      return std::make_unique<EndReader>(kMarks[mark].text.size());
    },
    .frame = gpt_oss_frame,
    .channels = true,
    .reasoning_ends = kReasoningEnds,
};

}  // namespace moxie::call_formats
