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

class Reader final : public HeadedCallReader {
 public:
  Reader() { closing_ = {kEnd}; }

 private:
  Head head(std::string_view block, CalledTool& call, size_t& arguments) override {
    const size_t name_end = block.find(kArguments, kBegin.size());
    if (name_end == std::string_view::npos) return Head::more;
    std::string_view name = without_blanks(block.substr(kBegin.size(), name_end - kBegin.size()));
    if (name.starts_with("functions.")) name.remove_prefix(10);
    call.id = fmt::format("functions.{}", name);
    call.name = name.substr(0, name.rfind(':'));
    arguments = name_end + kArguments.size();
    return call.name.empty() ? Head::text : Head::read;
  }
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
