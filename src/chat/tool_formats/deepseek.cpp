// DeepSeek V3, R1 and V3.1: between marks, a call as "function", its name and fenced JSON; V3.1 writes the name and the
// JSON alone. The marks come in several spellings.
#include "chat/tool_format.h"
#include "chat/tool_frame.h"
#include "chat/tool_reading.h"

namespace moxie::call_formats {
namespace {

constexpr std::string_view kBegin = "<｜tool▁call▁begin｜>", kSeparator = "<｜tool▁sep｜>";
constexpr std::string_view kEnd = "<｜tool▁call▁end｜>";
constexpr std::string_view kFence = "```";

class Reader final : public HeadedCallReader {
  // "function<sep>name\n```json\n" or "name<sep>".
  Head head(std::string_view block, CalledTool& call, size_t& arguments) override {
    arguments = block.find('{', kBegin.size());
    if (arguments == std::string_view::npos) return Head::more;
    const std::string_view head = block.substr(kBegin.size(), arguments - kBegin.size());
    const size_t separator = head.find(kSeparator);
    if (separator == std::string_view::npos) return Head::text;
    std::string_view name = without_blanks(head.substr(0, separator));
    std::string_view rest = without_blanks(head.substr(separator + kSeparator.size()));
    if (const size_t fence = rest.find(kFence); fence != std::string_view::npos) {
      closing_ = {kFence};
      rest = without_blanks(rest.substr(0, fence));
    }
    closing_.push_back(kEnd);
    if (!rest.empty()) name = rest;
    call.name = name;
    return name.empty() || name.find_first_of(" \n\"") != std::string_view::npos ? Head::text : Head::read;
  }
};

constexpr ToolMark kMarks[] = {
    {.text = kBegin, .control = true},  {.text = "<｜tool▁calls▁begin｜>", .control = true},
    {.text = "<｜tool▁calls▁end｜>"},   {.text = "<｜tool_calls_begin｜>"},
    {.text = "<｜tool calls begin｜>"}, {.text = "<｜tool\\_calls\\_begin｜>"},
    {.text = "<｜tool▁calls｜>"},
};

Json deepseek_frame(const ToolSet& tools, bool many, std::string_view chat_template) {
  const bool fenced = contains(chat_template, kFence);
  Json call = frame::each_tool(tools, [&](const Tool& tool) {
    if (fenced) {
      return frame::sequence({frame::token(kBegin), frame::text("function"), frame::token(kSeparator),
                              frame::text(tool.name + "\n```json\n"), frame::schema(tool.parameters),
                              frame::text("\n```"), frame::token(kEnd)});
    }
    return frame::sequence({frame::token(kBegin), frame::text(tool.name), frame::token(kSeparator),
                            frame::schema(tool.parameters), frame::token(kEnd)});
  });
  Json calls = frame::in_a_row(frame::rule("call"), frame::text(fenced ? "\n" : ""), many);
  return frame::with_call(
      std::move(call), frame::sequence({frame::token(kMarks[1].text), std::move(calls), frame::token(kMarks[2].text)}));
}

}  // namespace

extern constinit const ToolFormat deepseek = {
    .name = "deepseek",
    .summary = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME and JSON (DeepSeek V3, R1, V3.1)",
    .matches = [](std::string_view text) { return contains(text, kBegin); },
    .marks = kMarks,
    .read = [](const ToolSet&, size_t mark) -> std::unique_ptr<BlockReader> {
      if (mark == 0) return std::make_unique<Reader>();
      return separator_reader(kMarks[mark].text.size());
    },
    .frame = deepseek_frame,
};

}  // namespace moxie::call_formats
