// Kimi K2: <|tool_call_begin|>functions.NAME:INDEX<|tool_call_argument_begin|>{...}<|tool_call_end|> within a section.
// The id is significant: it is how the template names results.
#include <fmt/format.h>

#include "chat/tool_format.h"
#include "chat/tool_frame.h"
#include "chat/tool_reading.h"

namespace moxie::call_formats {
namespace {

constexpr std::string_view kBegin = "<|tool_call_begin|>", kArguments = "<|tool_call_argument_begin|>";
constexpr std::string_view kEnd = "<|tool_call_end|>";
constexpr size_t kNameMax = 256;

class Reader final : public BlockReader {
 public:
  BlockScan scan(std::string_view block, End end) override {
    if (!span_) {
      const size_t arguments = block.find(kArguments, kBegin.size());
      if (arguments == std::string_view::npos) {
        return end.ended || block.size() > kBegin.size() + kNameMax ? is_text() : more();
      }
      begin_ = skip_blanks(block, arguments + kArguments.size());
      if (begin_ == block.size()) return end.ended ? is_text() : more();
      std::string_view name = without_blanks(block.substr(kBegin.size(), arguments - kBegin.size()));
      if (name.starts_with("functions.")) name.remove_prefix(10);
      call_.id = fmt::format("functions.{}", name);
      call_.name = name.substr(0, name.rfind(':'));
      if (call_.name.empty()) return is_text();
      span_.emplace(begin_);
    }
    if (call_.arguments.empty()) {
      const ReadJson read = read_json(*span_, block, begin_, end);
      if (read.state == JsonSpan::State::more) return more();
      if (read.state == JsonSpan::State::broken || !read.json.object()) return is_text();
      call_.arguments = to_text(read.json);
      used_ = read.end;
    }
    const size_t at = skip_blanks(block, used_);
    const Stands close = stands_at(block, at, kEnd);
    if (close == Stands::partly && !end.ended) return more();
    return is_call(close == Stands::yes ? at + kEnd.size() : used_, call_);
  }

 private:
  size_t begin_ = 0, used_ = 0;
  std::optional<JsonSpan> span_;
  CalledTool call_;
};

constexpr ToolMark kMarks[] = {
    {.text = kBegin, .control = true},
    {.text = "<|tool_calls_section_begin|>", .control = true},
    {.text = "<|tool_calls_section_end|>"},
};

Json kimi_frame(const ToolSet& tools, bool many, std::string_view) {
  Json call = frame::each_tool(tools, [](const Tool& tool) {
    return frame::sequence({frame::token(kBegin), frame::text("functions." + tool.name + ":"),
                            frame::regex("[0-9]{1,4}"), frame::token(kArguments), frame::schema(tool.parameters),
                            frame::token(kEnd)});
  });
  Json calls = frame::in_a_row(frame::rule("call"), frame::text(""), many);
  return frame::with_call(
      std::move(call), frame::sequence({frame::token(kMarks[1].text), std::move(calls), frame::token(kMarks[2].text)}));
}

}  // namespace

extern constinit const ToolFormat kimi = {
    .name = "kimi",
    .summary = "<|tool_call_begin|>functions.NAME:INDEX<|tool_call_argument_begin|>{...} (Kimi K2)",
    .matches = [](std::string_view text) { return contains(text, kMarks[1].text); },
    .marks = kMarks,
    .read = [](const ToolSet&, size_t mark) -> std::unique_ptr<BlockReader> {
      if (mark == 0) return std::make_unique<Reader>();
      return separator_reader(kMarks[mark].text.size());
    },
    .frame = kimi_frame,
    .ids = CallIds::functions,
};

}  // namespace moxie::call_formats
